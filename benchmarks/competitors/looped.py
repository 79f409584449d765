"""A Python loop over batches, around the plain step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax

from benchmarks.competitors import Train, plain
from benchmarks.problem import Problem, Round


def make(problem: Problem, wrap: Callable[[Any], Any]) -> Train:
    """Returns the loop around ``wrap(step)``."""
    images, labels = plain.arrays(problem.train)
    params = jax.device_put(problem.params)
    opt_state, done, step = plain.tx.init(params), 0, wrap(plain.step)

    def train(steps: int) -> Round:
        nonlocal params, opt_state, done
        start, losses = time.perf_counter(), []
        for index in range(done, done + steps):
            at = problem.batch(index)
            params, opt_state, loss = step(params, opt_state, images[at], labels[at])
            losses.append(loss)
        jax.block_until_ready(params)
        seconds, done = time.perf_counter() - start, done + steps
        return Round(seconds / steps, plain.mean_losses(losses))

    return train
