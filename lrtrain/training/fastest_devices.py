"""The choice between a device for each core and one device with all of them, measured once for a network and kept.

XLA:CPU spreads a large matrix product over all cores by itself, so a network of dense layers is faster on one device,
which reads its weights and sums its gradients once. In most others, a device for each core is faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.host import usable_cores
from lrtrain.training.kept_choice import KeptChoice
from lrtrain.training.prepare import Loaded, Task, loaded_on

if TYPE_CHECKING:
    import jax

    from lrtrain.engine.engine import Engine
    from lrtrain.runs.train_config import TrainConfig

# A shorter run is over before a measurement, which compiles the step once more, has been worth it.
_FEWEST_STEPS = 1_000
# One device must save a tenth, so that two measurements seldom disagree: the sums are taken in another order.
_TIME_OF_ONE = 0.9
_ROUNDS = 3
_SECONDS = 0.15


def loaded_on_fastest(
    devices: list[jax.Device], task: Task, config: TrainConfig, phase: Callable[[str], None]
) -> Loaded:
    """Puts the data on the devices, or on the first of them alone if a step is faster there.

    Only on CPU, where the user has not chosen, the run is long, and the result is the same up to rounding; the default
    network is known to be faster on a device for each core.
    """
    if not _is_open(devices, task, config):
        return loaded_on(devices, task, config)
    kept = KeptChoice("devices", task, config, {"devices": len(devices), "cores": usable_cores()})
    if (known := kept.read()) in (1, len(devices)):
        return loaded_on(devices[:known], task, config)
    every = loaded_on(devices, task, config)
    if every.engine.has_state:
        return every
    phase("measuring whether one device is faster")
    one = loaded_on(devices[:1], task, config)
    seconds = step_seconds([every.engine, one.engine], len(task.data.train))
    chosen = one if seconds[1] < _TIME_OF_ONE * seconds[0] else every
    kept.write(len(chosen.devices), {len(devices): seconds[0] * 1e3, 1: seconds[1] * 1e3})
    return chosen


def _is_open(devices: list[jax.Device], task: Task, config: TrainConfig) -> bool:
    from lrtrain.data.types import Split

    return (
        config.devices is None
        and len(devices) > 1
        and devices[0].platform == "cpu"
        and task.found.program is not None
        and isinstance(task.data.train, Split)
        and config.epochs * task.found.steps_per_epoch >= _FEWEST_STEPS
    )


def step_seconds(engines: list[Engine], examples: int) -> list[float]:
    """Returns the time of a training step of each, the least of some rounds in turn."""
    timers = [_timer(engine, examples) for engine in engines]
    rounds = [[timer() for timer in timers] for _ in range(_ROUNDS)]
    return [min(times) for times in zip(*rounds, strict=True)]


def _timer(engine: Engine, examples: int) -> Callable[[], float]:
    """Returns a function that trains for about `_SECONDS`, and returns the time of a step."""
    engine.compile()
    state = engine.init(0)

    def train(steps: int) -> float:
        nonlocal state
        order = np.arange(steps * engine.batch_size).reshape(steps, -1) % examples
        began = time.perf_counter()
        state, losses = engine.run_steps(state, order, np.ones(order.shape), np.zeros(steps))
        losses.block_until_ready()
        return (time.perf_counter() - began) / steps

    steps = max(1, min(engine.chunk_steps, int(_SECONDS / train(1))))
    return lambda: train(steps)
