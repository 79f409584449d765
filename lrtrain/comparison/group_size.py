"""The number of runs that an accelerator trains side by side, measured once for what is trained and kept.

More runs fill it better, and those of one seed share their batches; but a vmap makes other convolutions, and larger
groups leave the caches.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from lrtrain.comparison.reporter import CompareReporter
from lrtrain.engine.population import Population
from lrtrain.training.kept_choice import KeptChoice

T = TypeVar("T")

# Fewer steps, of all runs together, are over before a measurement, which compiles several programs, has been worth it.
FEWEST_STEPS = 100_000
_ROUNDS = 3
_SECONDS = 0.1
# Sizes that differ by less are about as fast.
_FACTOR = 4


def with_fastest_size(
    population: Population, kept: KeptChoice, paired: int, examples: int, reporter: CompareReporter
) -> Population:
    """Returns the population of the size with the least time for a step of a run, no larger than the one given.

    Args:
      population: the largest that its device's memory is estimated to hold.
      kept: what was chosen before.
      paired: the number of runs of a seed: a group of no more shares its batches.
      examples: those of the training set.
      reporter: is told that it is measured, and when a group does not fit in the memory.
    """
    most = population.runs_per_device
    if (known := kept.read()) is not None and 1 <= known <= most:
        return population.sized(known)
    reporter.phase("measuring how many runs are fastest side by side")
    seconds: dict[int, float] = {}
    for size in group_sizes(most, paired):
        try:
            seconds[size] = run_seconds(population.sized(size), examples, shared=1 < size <= paired)
        except RuntimeError as error:
            if size == 1 or not _is_out_of_memory(error):
                raise
            reporter.noted(_too_many(size, max(seconds)))
            break
    fastest = min(seconds, key=lambda size: seconds[size])
    kept.write(fastest, {size: each * 1e3 for size, each in seconds.items()})
    return population.sized(fastest)


def group_sizes(most: int, paired: int) -> list[int]:
    """Returns the sizes to be measured, least first: 1, all runs of a seed, those between and beyond, and the most."""
    sizes = {1, most}
    size = min(paired, most)
    while size > 1:
        sizes.add(size)
        size //= _FACTOR
    size = paired * _FACTOR
    while size * 2 <= most:
        sizes.add(size)
        size *= _FACTOR
    return sorted(sizes)


def run_seconds(population: Population, examples: int, *, shared: bool) -> float:
    """Returns the time of a step of one run among as many as the population trains, the least of some rounds.

    It evaluates them too, for that takes memory; its time is not counted.
    """
    lead = population.devices if shared else population.width
    state = population.init([0] * population.width)
    np.asarray(population.evaluate(state)["loss"])

    def train(steps: int) -> float:
        nonlocal state
        batch = np.arange(steps * population.batch_size).reshape(1, steps, -1) % examples
        order = np.repeat(batch, lead, axis=0)
        rates = np.zeros((population.width, steps))
        began = time.perf_counter()
        state, losses = population.run_steps(state, order, np.ones(order.shape), rates, shared=shared)
        losses.block_until_ready()
        return (time.perf_counter() - began) / steps

    train(1)  # compiles
    steps = max(1, min(population.chunk_steps, int(_SECONDS / train(1))))
    return min(train(steps) for _ in range(_ROUNDS)) / population.width


def halved_until_it_fits(
    population: Population, attempt: Callable[[Population], T], note: Callable[[str], None]
) -> tuple[Population, T]:
    """Returns what an attempt to train some steps returns, and the population that had the memory for it."""
    size = most = population.runs_per_device
    while True:
        try:
            result = attempt(population)
        except RuntimeError as error:
            if size == 1 or not _is_out_of_memory(error):
                raise
            size //= 2
            population = population.sized(size)
            continue
        if size < most:
            note(_too_many(most, size))
        return population, result


def _is_out_of_memory(error: RuntimeError) -> bool:
    # JAX has one class for all that XLA raises, with the name of the status in its text.
    return "RESOURCE_EXHAUSTED" in str(error)


def _too_many(size: int, fewer: int) -> str:
    return f"{size} runs side by side do not fit in the memory of a device: it trains {fewer} at once, or fewer"
