"""Not a competitor: the time of a step's arithmetic alone, at the rate of a large matrix product on all cores."""

from __future__ import annotations

import time

import jax
import numpy as np

from benchmarks.competitors import Train
from benchmarks.problem import BATCH, FLOP_PER_STEP, Problem, Round
from lrtrain.engine.devices import select_devices

_SIZE = 1536
_SIZE_ON_ACCELERATOR = 8192
_REPEATS = 5


def make(problem: Problem) -> Train:
    devices = select_devices(None, BATCH)
    size = _SIZE if devices[0].platform == "cpu" else _SIZE_ON_ACCELERATOR
    multiply = jax.jit(lambda a: a @ a)
    values = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    operands = [jax.device_put(values, device) for device in devices]
    jax.block_until_ready([multiply(a) for a in operands])

    def train(steps: int) -> Round:
        start = time.perf_counter()
        for _ in range(_REPEATS):
            jax.block_until_ready([multiply(a) for a in operands])
        flop = _REPEATS * len(operands) * 2 * size**3
        return Round((time.perf_counter() - start) * FLOP_PER_STEP / flop, [])

    return train
