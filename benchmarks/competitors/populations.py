"""Several runs in one program: a round trains all of them for some steps, and a step is one run's."""

from __future__ import annotations

import time
from functools import partial

import flax.linen as nn
import numpy as np

from benchmarks.competitors import Train, products
from benchmarks.problem import BATCH, LEARNING_RATE, Problem, Round
from lrtrain.engine.devices import select_devices
from lrtrain.engine.optimizers import optimizer
from lrtrain.engine.order import epoch_order
from lrtrain.engine.population import Population
from lrtrain.nn.model import CNN
from lrtrain.workloads.images import FashionMnistCnn


def make(
    problem: Problem,
    runs: int,
    model: nn.Module | None = None,
    runs_per_device: int | None = None,
    *,
    shared: bool = False,
) -> Train:
    population = Population(
        model or CNN(),
        optimizer("sgd"),
        problem.train,
        problem.test,
        batch_size=BATCH,
        workload=FashionMnistCnn(),
        devices=select_devices(None, BATCH),
        runs=runs,
        runs_per_device=runs_per_device,
    )
    sizes = [min(population.width, runs - begin) for begin in range(0, runs, population.width)]
    states = [population.init([0] * size) for size in sizes]
    order, weights = epoch_order(0, 0, len(problem.train.targets), BATCH, shuffle=False)

    def train(steps: int) -> Round:
        start, every = time.perf_counter(), []
        for index, size in enumerate(sizes):
            lead = population.devices if shared else size
            many_orders, many_weights = (np.stack([values[:steps]] * lead) for values in (order, weights))
            rates = np.full((size, steps), LEARNING_RATE, np.float32)
            states[index], losses = population.run_steps(states[index], many_orders, many_weights, rates, shared=shared)
            every.append(losses)
        trained = [np.asarray(losses) for losses in every]
        return Round((time.perf_counter() - start) / (runs * steps), trained[0].mean(axis=0).tolist())

    return train


make_1, make_8, make_32 = (partial(make, runs=runs) for runs in (1, 8, 32))
shared_8, shared_32 = (partial(make, runs=runs, shared=True) for runs in (8, 32))
# What an accelerator could do instead.
alone_8, alone_32 = (partial(make, runs=runs, runs_per_device=1) for runs in (8, 32))
shifted_1, shifted_8, shifted_32 = (partial(make, runs=n, model=products.CNN(products.shifted)) for n in (1, 8, 32))
shifted_shared, patches_shared = (
    partial(make, runs=32, model=products.CNN(form), shared=True) for form in (products.shifted, products.patches)
)
patches_1, patches_8, patches_32 = (partial(make, runs=n, model=products.CNN(products.patches)) for n in (1, 8, 32))
