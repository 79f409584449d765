"""No competitor: the time that a step's arithmetic alone takes at the rate of a large matrix product on all cores."""

from __future__ import annotations

import time

import jax
import numpy as np

from benchmarks.competitors import Train
from benchmarks.problem import BATCH, FLOP_PER_STEP, Problem, Round
from lrtrain.devices import select_devices

_SIZE = 1536
_REPEATS = 5


def make(problem: Problem) -> Train:
    devices = select_devices(None, BATCH)
    multiply = jax.jit(lambda a: a @ a)
    operands = [jax.device_put(np.ones((_SIZE, _SIZE), np.float32), device) for device in devices]
    jax.block_until_ready([multiply(a) for a in operands])

    def train(steps: int) -> Round:
        start = time.perf_counter()
        for _ in range(_REPEATS):
            jax.block_until_ready([multiply(a) for a in operands])
        flop = _REPEATS * len(operands) * 2 * _SIZE**3
        return Round((time.perf_counter() - start) * FLOP_PER_STEP / flop, [])

    return train
