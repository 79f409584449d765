"""A loop around lrtrain's compiled step, on batches that are read from the disk while the step before runs.

Right before and after each epoch, the same with data on the devices goes through half of one, in the same process: two
processes that run the same program differ by more than the reading takes.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np

from benchmarks.competitors import Train, bare_loop
from benchmarks.problem import ALL_EXAMPLES, BATCH, LEARNING_RATE, Problem, Round, steps_per_epoch
from lrtrain.data import find_dataset
from lrtrain.engine.devices import select_devices
from lrtrain.engine.engine import Engine
from lrtrain.engine.optimizers import optimizer
from lrtrain.engine.order import epoch_order
from lrtrain.nn.model import CNN
from lrtrain.workloads.images import FashionMnistCnn


def make_beside_held(problem: Problem) -> Train:
    streamed, held, half = make(problem), bare_loop.make(problem), max(1, steps_per_epoch(problem) // 2)

    def train(steps: int) -> Round:
        before = held(half)
        return bare_loop.beside_halves(streamed(steps), before, held(half))

    return train


def make(problem: Problem) -> Train:
    examples = len(problem.train.targets)
    stream = find_dataset("fashion_mnist").stream(None if examples == ALL_EXAMPLES else examples).train
    engine = Engine(
        CNN(),
        optimizer("sgd"),
        None,
        problem.test,
        batch_size=BATCH,
        workload=FashionMnistCnn(),
        devices=select_devices(None, BATCH),
    )
    state = engine.place(engine.init(0)._replace(params=problem.params))

    def train(steps: int) -> Round:
        nonlocal state
        start, losses = time.perf_counter(), []
        order, weights = (each[: steps or None] for each in epoch_order(0, 0, examples, BATCH, shuffle=False))
        waiting: Any = None
        chunks = stream.chunks(order, engine.chunk_steps)
        for begin, chunk in zip(itertools.count(0, engine.chunk_steps), chunks, strict=False):
            part = weights[begin : begin + engine.chunk_steps]
            state, some = engine.run_steps(state, chunk, part, np.full(len(part), LEARNING_RATE, np.float32))
            # As in training: the host handles a chunk while the next one runs.
            if waiting is not None:
                losses.append(np.asarray(waiting))
            waiting = some
        losses.append(np.asarray(waiting))
        return Round((time.perf_counter() - start) / len(order), np.concatenate(losses).tolist())

    return train
