"""Several runs that train together in one compiled program: the same network, other schedules, factors and seeds.

On CPU every core trains a run of its own, so no core waits for another; an accelerator trains several runs side by
side, vmapped, as many as its memory holds. Those of one seed have the same batches, which are then there once.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from lrtrain.engine.engine import Engine, Losses
from lrtrain.engine.program import Chunk
from lrtrain.engine.state import Leaves
from lrtrain.engine.tracing import bytes_of, traced
from lrtrain.nn.conv import operations
from lrtrain.nn.network import Network, network_of
from lrtrain.workloads.kinds import Classification

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import optax

    from lrtrain.data.types import Split
    from lrtrain.engine.state import Means, TrainState
    from lrtrain.workloads.workload import Workload

# Of the free memory: the need of a step is an estimate, and an allocator wastes some.
_SHARE_OF_MEMORY = 0.8


class Population:
    """Trains up to ``width`` runs at once; each has the losses that it would have alone, up to rounding.

    Populations that are made alike share the compiled program.
    """

    def __init__(  # noqa: PLR0913
        self,
        model: Any,
        optimizer: optax.GradientTransformation,
        train: Split,
        test: Split,
        *,
        batch_size: int,
        workload: Workload | None = None,
        loss_reduction: str = "sum",
        accumulate: int = 1,
        ema: float | None = None,
        precision: str = "float32",
        devices: Sequence[jax.Device] | None = None,
        micro_batch: int | None = None,
        chunk_steps: int = 16,
        runs: int | None = None,
        runs_per_device: int | None = None,
        command_buffers: bool = True,
    ) -> None:
        """Puts the data on the devices; the arguments are those of `lrtrain.engine.engine.Engine`, but for two.

        ``runs`` is the number of runs to train altogether, if known: there are no more places than that. A device
        trains ``runs_per_device`` side by side; None is 1 on CPU, elsewhere as many as its memory holds.
        """
        devices = list(devices or jax.local_devices())
        if runs_per_device is None:
            batch = Leaves.of(train.inputs, batch_size)
            needed = bytes_of_run(network_of(model), (workload or Classification()).rules(), optimizer, batch)
            runs_per_device = runs_that_fit(devices[0], needed)
        if runs is not None:
            runs_per_device = min(runs_per_device, -(-runs // len(devices)))
            devices = devices[:runs]
        self._engine = Engine(
            model,
            optimizer,
            train,
            test,
            batch_size=batch_size,
            workload=workload,
            loss_reduction=loss_reduction,
            accumulate=accumulate,
            ema=ema,
            precision=precision,
            devices=devices,
            micro_batch=micro_batch,
            chunk_steps=chunk_steps,
            runs_per_device=runs_per_device,
            command_buffers=command_buffers,
        )
        self.devices = len(devices)
        self.runs_per_device = runs_per_device
        self.batch_size = batch_size
        self.chunk_steps = chunk_steps

    @property
    def width(self) -> int:
        """The number of runs that it trains at once."""
        return self.devices * self.runs_per_device

    def sized(self, runs_per_device: int) -> Population:
        """Returns a population with as many runs on each device; it has the same data, without a copy."""
        other = copy.copy(self)
        other._engine, other.runs_per_device = self._engine.sized(runs_per_device), runs_per_device
        return other

    def init(self, seeds: Sequence[int]) -> TrainState:
        """Returns fresh parameters and optimizer state of runs, a seed for each, with a leading axis ``[width]``.

        There are at most ``width`` seeds; places that are left repeat the last.
        """
        alone = {seed: self._engine.init_alone(seed) for seed in seeds}
        return self.place([alone[seed] for seed in seeds])

    def place(self, states: Sequence[TrainState]) -> TrainState:
        """Puts the states of some runs on the devices, each on the one that trains it; see `init`."""
        leaves = [jax.device_get(state) for state in states]
        stacked: TrainState = jax.tree.map(lambda *runs: _filled(np.stack(runs), self.width), *leaves)
        return self._engine.place(stacked)

    def leaves(self, state: TrainState) -> list[npt.NDArray[Any]]:
        """Returns all arrays of a state, those of every place, on the host."""
        return [np.asarray(leaf) for leaf in jax.tree.leaves(jax.device_get(state))]

    def from_leaves(self, arrays: Sequence[npt.NDArray[Any]], places: Sequence[int], like: TrainState) -> TrainState:
        """Puts some of the runs that `leaves` has returned on the devices, each on the one that trains it.

        The arrays have a leading axis of places, of which at most ``width`` are wanted; ``like`` has their structure.
        """
        structure = jax.tree.structure(like)
        return self.place([jax.tree.unflatten(structure, [array[place] for array in arrays]) for place in places])

    def run_steps(
        self,
        state: TrainState,
        order: npt.NDArray[Any],
        weights: npt.NDArray[Any],
        learning_rates: npt.NDArray[Any],
        *,
        shared: bool = False,
    ) -> tuple[TrainState, Losses]:
        """Starts some steps of every run and returns without waiting for them, as the engine's ``run_steps`` does.

        All arrays, and the losses that it returns, have a leading axis of at most ``width`` runs; but if they are
        ``shared`` by the runs of each device, order and weights have one of devices: see `shared_seeds`.
        """
        runs, steps = np.shape(learning_rates)
        numbers = np.zeros(self.width, np.int32)
        numbers[:runs] = steps
        places = self.devices if shared else self.width
        order, weights = (_filled(each, places) for each in (order, weights))
        chunk: Chunk[npt.NDArray[Any]] = Chunk(order, weights, _filled(learning_rates, self.width))
        return self._engine.run_chunk(state, chunk, numbers, (runs, steps))

    def shared_seeds(self, seeds: Sequence[int]) -> list[int] | None:
        """Returns the seed of each device that runs of these seeds are placed on, in order.

        None where the runs of a device do not share their batches: it has one, or runs of several seeds.
        """
        size = self.runs_per_device
        blocks = [seeds[first : first + size] for first in range(0, len(seeds), size)]
        return [block[0] for block in blocks] if size > 1 and all(len(set(block)) == 1 for block in blocks) else None

    def evaluate(self, state: TrainState) -> Means:
        """Returns mean loss and metrics on the test set, float32[width] each, as the engine's ``evaluate`` does."""
        return self._engine.evaluate(state)

    def evaluate_on(self, state: TrainState, split: Split) -> Means:
        """Returns mean loss and metrics on other examples, float32[width] each."""
        return self._engine.evaluate_on(state, split)

    def exact(self, means: Means, examples: int) -> dict[str, npt.NDArray[np.float64]]:
        """Returns the means on the host, float64[width] each, as the engine's ``exact`` does."""
        return self._engine.exact(means, examples)


def runs_that_fit(device: jax.Device, bytes_per_run: int) -> int:
    """Returns the number of runs, of a size as `bytes_of_run` estimates it, that a device trains side by side.

    That is 1 on CPU, elsewhere as many as fit in its memory.
    """
    memory = device.memory_stats() if device.platform != "cpu" else None
    if not memory or "bytes_limit" not in memory:
        return 1
    free = memory["bytes_limit"] - memory.get("bytes_in_use", 0)
    return max(1, int(_SHARE_OF_MEMORY * free / bytes_per_run))


def bytes_of_run(network: Network, workload: Workload, optimizer: optax.GradientTransformation, batch: Leaves) -> int:
    """Estimates the memory of one run's training step, from above: as if nothing were fused or freed.

    ``batch`` has the shapes and types of the inputs of a step; the optimizer's state counts too.
    """
    facts = traced(network, workload, batch, on_cpu=False)
    state = (facts.params, facts.network, jax.eval_shape(optimizer.init, facts.params))
    results = [out.aval for operation in operations(facts.gradients) for out in operation.outvars]
    return 2 * sum(map(bytes_of, (*jax.tree.leaves(state), *results)))


def _filled(given: npt.NDArray[Any], places: int) -> npt.NDArray[Any]:
    """Repeats the last run, or device, in the places that are left: zeros there would become NaN."""
    if len(given) > places:
        raise ValueError(f"at most {places} runs at once, got {len(given)}")
    return np.concatenate([given, *[given[-1:]] * (places - len(given))])
