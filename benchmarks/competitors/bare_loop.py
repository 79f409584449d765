"""A loop around lrtrain's own compiled step: an epoch with no logs, hooks, evaluation or checkpoints."""

from __future__ import annotations

import time
from collections.abc import Sequence

import jax
import numpy as np

from benchmarks.competitors import EPOCH, Train
from benchmarks.problem import BATCH, LEARNING_RATE, Problem, Round, steps_per_epoch
from benchmarks.processor_time import beside_xla, spent
from lrtrain.engine.devices import select_devices
from lrtrain.engine.engine import Engine, TrainState
from lrtrain.engine.optimizers import optimizer
from lrtrain.engine.order import epoch_order
from lrtrain.nn.model import CNN
from lrtrain.workloads.images import FashionMnistCnn


def make(problem: Problem) -> Train:
    return make_on(problem, select_devices(None, BATCH))


def make_without_command_buffers(problem: Problem) -> Train:
    engine = engine_on(problem, select_devices(None, BATCH), command_buffers=False)
    return around(engine, _begin(engine, problem), len(problem.train.targets))


def make_one_device(problem: Problem) -> Train:
    return make_on(problem, select_devices(1, BATCH))


def make_on(problem: Problem, devices: Sequence[jax.Device]) -> Train:
    engine = engine_on(problem, devices)
    return around(engine, _begin(engine, problem), len(problem.train.targets))


def make_between(problem: Problem) -> Train:
    """A bare loop that is compared with itself, half an epoch before and half an epoch after."""
    engine = engine_on(problem, select_devices(None, BATCH))
    examples, half = len(problem.train.targets), max(1, steps_per_epoch(problem) // 2)
    train, beside = (around(engine, _begin(engine, problem), examples) for _ in range(2))

    def between(steps: int) -> Round:
        before = with_processor_time(beside, half)
        whole = with_processor_time(train, steps)
        return beside_halves(whole, before, with_processor_time(beside, half))

    return between


def with_processor_time(train: Train, steps: int) -> Round:
    """Returns a round, with the processor time that it took besides XLA's own."""
    began = beside_xla()
    return train(steps)._replace(aside=spent(began))


def beside_halves(epoch: Round, before: Round, after: Round) -> Round:
    """Returns an epoch with what a bare loop took in the halves of one before and after it."""
    both = None if before.aside is None or after.aside is None else before.aside + after.aside
    return epoch._replace(bare=(before.seconds + after.seconds) / 2, bare_aside=both)


def around(engine: Engine, state: TrainState, examples: int) -> Train:
    """Returns the loop around the compiled step of an existing engine."""

    def train(steps: int) -> Round:
        nonlocal state
        start, losses = time.perf_counter(), []
        order, weights = epoch_order(0, 0, examples, BATCH, shuffle=False)
        steps = len(order) if steps == EPOCH else steps
        rates = np.full(steps, LEARNING_RATE, np.float32)
        for begin in range(0, steps, engine.chunk_steps):
            part = slice(begin, min(begin + engine.chunk_steps, steps))
            state, some = engine.run_steps(state, order[part], weights[part], rates[part])
            losses.append(some)
        losses[-1].block_until_ready()
        seconds = time.perf_counter() - start
        return Round(seconds / steps, np.concatenate([np.asarray(some) for some in losses]).tolist())

    return train


def _begin(engine: Engine, problem: Problem) -> TrainState:
    return engine.place(engine.init(0)._replace(params=problem.params))


def engine_on(problem: Problem, devices: Sequence[jax.Device], *, command_buffers: bool = True) -> Engine:
    return Engine(
        CNN(),
        optimizer("sgd"),
        problem.train,
        problem.test,
        batch_size=BATCH,
        workload=FashionMnistCnn(),
        devices=devices,
        command_buffers=command_buffers,
    )
