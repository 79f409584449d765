"""Evaluations of the test set, as functions like those that train: a step is one evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.competitors import Train, bare_loop, plain
from benchmarks.problem import BATCH, Problem, Round
from lrtrain.engine.devices import select_devices


def make(problem: Problem) -> Train:
    """lrtrain's: one compiled call for the whole test set."""
    engine = bare_loop.engine_on(problem, select_devices(None, BATCH))
    state = engine.place(engine.init(0)._replace(params=problem.params))
    return _timed(lambda: engine.evaluate(state)["loss"])


def make_jitted(problem: Problem) -> Train:
    """A jitted loss called for one batch after another."""
    images, labels = plain.arrays(problem.test)
    loss_of = jax.jit(plain.loss_of)
    batches = [slice(begin, begin + BATCH) for begin in range(0, len(labels), BATCH)]
    return _timed(lambda: _mean(problem, [loss_of(problem.params, images[at], labels[at]) for at in batches]))


def _mean(problem: Problem, sums: list[jax.Array]) -> jax.Array:
    return jnp.sum(jnp.stack(sums)) / len(problem.test.targets)


def _timed(evaluate: Callable[[], Any]) -> Train:
    def train(steps: int) -> Round:
        start = time.perf_counter()
        losses = [float(evaluate()) for _ in range(steps)]
        return Round((time.perf_counter() - start) / steps, losses)

    return train
