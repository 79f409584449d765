"""The tutorial's loop: the same step, not jitted."""

from __future__ import annotations

from benchmarks.competitors import Train, looped
from benchmarks.problem import Problem


def make(problem: Problem) -> Train:
    return looped.make(problem, lambda step: step)
