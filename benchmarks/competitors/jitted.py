"""A jitted step called from a Python loop, on the one device that JAX shows by default, which uses all cores."""

from __future__ import annotations

import jax

from benchmarks.competitors import Train, looped
from benchmarks.problem import Problem


def make(problem: Problem) -> Train:
    return looped.make(problem, jax.jit)
