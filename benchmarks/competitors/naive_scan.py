"""`jax.lax.scan` over the plain step: on CPU its convolutions meet XLA's slow path (jax-ml/jax#12868).

Either the batches are what it goes through, or their indices, and the examples stay where they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.competitors import Train, plain
from benchmarks.problem import Problem, Round


@jax.jit
def _scan(params: Any, opt_state: Any, images: jax.Array, labels: jax.Array) -> Any:
    def body(carry: Any, batch: Any) -> Any:
        params, opt_state, loss = plain.step(*carry, *batch)
        return (params, opt_state), loss

    return jax.lax.scan(body, (params, opt_state), (images, labels))


@jax.jit
def _scan_over_indices(params: Any, opt_state: Any, images: jax.Array, labels: jax.Array, order: jax.Array) -> Any:
    def body(carry: Any, at: jax.Array) -> Any:
        params, opt_state, loss = plain.step(*carry, images[at], labels[at])
        return (params, opt_state), loss

    return jax.lax.scan(body, (params, opt_state), order)


def make(problem: Problem) -> Train:
    def scan(carry: Any, images: jax.Array, labels: jax.Array, batches: list[slice]) -> Any:
        return _scan(*carry, *(jnp.stack([values[at] for at in batches]) for values in (images, labels)))

    return _timed(problem, scan)


def make_over_indices(problem: Problem) -> Train:
    def scan(carry: Any, images: jax.Array, labels: jax.Array, batches: list[slice]) -> Any:
        order = np.stack([np.arange(at.start, at.stop, dtype=np.int32) for at in batches])
        return _scan_over_indices(*carry, images, labels, order)

    return _timed(problem, scan)


def _timed(problem: Problem, scan: Callable[..., Any]) -> Train:
    images, labels = plain.arrays(problem.train)
    params = jax.device_put(problem.params)
    carry, done = (params, plain.tx.init(params)), 0

    def train(steps: int) -> Round:
        nonlocal carry, done
        start = time.perf_counter()
        carry, losses = scan(carry, images, labels, [problem.batch(index) for index in range(done, done + steps)])
        jax.block_until_ready(carry)
        seconds, done = time.perf_counter() - start, done + steps
        return Round(seconds / steps, plain.mean_losses(losses))

    return train
