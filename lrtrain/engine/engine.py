"""Compiled training and evaluation of one network over a mesh of devices; it knows arrays and nothing else.

The data is kept on the devices, or each call provides its own. One call runs a chunk of steps in a loop on the device;
each step splits its batch over the devices, goes through each device's share in micro-batches that fit a core's cache,
sums the gradients and applies the optimizer's update times the learning rate, which is an argument. So one compilation
serves every schedule.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lrtrain.engine.evaluation import evaluate, evaluation
from lrtrain.engine.micro_batches import examples_at_once
from lrtrain.engine.program import AXIS, REPLICATED, Chunk, MicroBatches, Program
from lrtrain.engine.rules import Rules, initializer
from lrtrain.engine.state import Carry, Leaves, Means, TestSet, TrainSet, TrainState
from lrtrain.engine.tracing import counted, traced
from lrtrain.engine.training_step import run_chunk
from lrtrain.nn.conv import is_slow_in_loop
from lrtrain.nn.network import network_of
from lrtrain.workloads.kinds import Classification

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import optax

    from lrtrain.data.types import Split
    from lrtrain.workloads.workload import Workload

__all__ = ["Engine", "Losses", "TrainState"]

_CPU_TEST_BATCH = 32
_ACCELERATOR_TEST_BATCH = 4096


Examples: TypeAlias = "npt.NDArray[Any] | tuple[Any, Any]"
"""Indices of training examples, ``[steps, batch]``; or, if those are streamed, their inputs and targets."""


class Losses:
    """The losses of one call of ``run_steps``, still on the devices; ``numpy.asarray`` waits for the steps."""

    def __init__(self, buffer: jax.Array, shape: tuple[int, ...]) -> None:
        self._buffer = buffer
        self._shape = shape

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Waits for the steps and returns float32[steps]: the mean loss of an example in each step's batch.

        Those of a population are float32[runs, steps].
        """
        return np.array(jax.device_get(self._buffer)[tuple(map(slice, self._shape))], dtype=dtype)

    def block_until_ready(self) -> Losses:
        """Waits for the steps."""
        self._buffer.block_until_ready()
        return self


class Engine:
    """Trains and evaluates one network on data that stays on the devices, or is streamed to them.

    Engines that are made alike share what is compiled, so any number of runs in one process compile once.
    """

    def __init__(  # noqa: PLR0913
        self,
        model: Any,
        optimizer: optax.GradientTransformation,
        train: Split | None,
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
        runs_per_device: int = 0,
        command_buffers: bool = True,
    ) -> None:
        """Puts the data on the devices.

        Args:
          model: the network, as `lrtrain.nn.network.network_of` takes it.
          optimizer: its updates are multiplied by the learning rate and subtracted from the parameters.
          train: the examples whose indices ``run_steps`` is given; None if each call provides its own.
          test: the examples of ``evaluate``.
          batch_size: examples in a step.
          workload: its loss, its metrics and what it does to inputs; None for `lrtrain.Classification`.
          loss_reduction: ``"sum"`` or ``"mean"``: which of a batch's losses the gradient is taken of.
          accumulate: parts that a step takes one after another, for a network whose state is that of a part.
          ema: decay of a moving average of the parameters, which is evaluated in their place; None for none.
          precision: ``"bf16"`` to compute the network in bfloat16; parameters, loss and updates stay float32.
          devices: devices of one kind, of one process or several; None for all local ones.
          micro_batch: largest number of examples that a device takes at once; None for as many as fit a core's cache on
            CPU, and all elsewhere or where the network has a state. It changes nothing but the last bits, and is
            ignored on CPU for a model that is slow in a loop.
          chunk_steps: largest number of steps in a call of ``run_steps``.
          runs_per_device: runs that each device trains by itself, for `lrtrain.engine.population`; 0 for one run that
            all devices share.
          command_buffers: whether an NVIDIA GPU has loops and convolutions in XLA's command buffers, where it can.
        """
        if loss_reduction not in ("sum", "mean"):
            raise ValueError(f"loss_reduction is 'sum' or 'mean', got {loss_reduction!r}")
        devices = list(devices or jax.local_devices())
        on_cpu = devices[0].platform == "cpu"
        self.batch_size = batch_size
        self.chunk_steps = chunk_steps
        self._inputs, self._targets = Leaves.of(test.inputs, 1), Leaves.of(test.targets, 1)
        network, rules = network_of(model), (workload or Classification()).rules()
        self._maker = network.maker
        facts = traced(network, rules, Leaves.of(test.inputs, 2), on_cpu=on_cpu)
        self.has_state = has_state = bool(jax.tree.leaves(facts.network))
        self._counted = counted(network, rules, Leaves.of(test.inputs, 2), Leaves.of(test.targets, 2))
        self.looped = not (on_cpu and is_slow_in_loop(facts.gradients))
        self._share = 1 if runs_per_device else len(devices)
        part = -(-batch_size // (accumulate * self._share))
        if micro_batch is None:
            fits = batch_size if has_state or not on_cpu else examples_at_once(facts)
            micro_batch = min(fits, part)
        if not self.looped:
            micro_batch = part
        test_batch = _CPU_TEST_BATCH if on_cpu else _ACCELERATOR_TEST_BATCH
        self._program = Program(
            Rules(network, rules, optimizer, loss_reduction, ema, facts.draws, has_state, facts.replaces, precision),
            Mesh(np.asarray(devices), (AXIS,)),
            MicroBatches.of(batch_size, self._share, micro_batch),
            MicroBatches.of(len(test), self._share, test_batch),
            runs_per_device,
            self.looped,
            command_buffers=command_buffers,
        )
        self._other: tuple[Split, TestSet] | None = None
        held = () if train is None else (_narrow(train.inputs), _narrow(train.targets))
        self._train: TrainSet = self._put(held, REPLICATED)
        self._test: TestSet = self._put_test(test, self._program)

    def sized(self, runs_per_device: int) -> Engine:
        """Returns an engine for another number of runs a device, above 0 as this one's; it has the same data."""
        other = copy.copy(self)
        other._program = dataclasses.replace(self._program, runs_per_device=runs_per_device)
        return other

    def init(self, seed: int, given: tuple[Any, Any] | None = None) -> TrainState:
        """Returns fresh parameters, of ``jax.random.PRNGKey(seed)``, and optimizer state, on every device.

        Parameters and the network's other state may be ``given`` instead.
        """
        return self.place(self.init_alone(seed, given))

    def init_alone(self, seed: int, given: tuple[Any, Any] | None = None) -> TrainState:
        """Returns fresh parameters and optimizer state, as ``init`` does, on one device."""
        init = initializer(self._program.platform)
        rules = self._program.rules
        state: TrainState = init(rules, self._maker, self._inputs, jax.random.PRNGKey(seed), given)
        return state

    def place(self, state: TrainState) -> TrainState:
        """Puts a state, such as a restored one, on the devices, so that ``run_steps`` takes it without a copy."""
        placed: TrainState = self._put(state, self._program.of_run)
        return placed

    def compile(self) -> None:
        """Compiles ``run_steps`` now, not in its first call, unless an engine made alike has compiled it."""
        steps = 0 if self.looped else 1
        shape = (steps, self.batch_size)
        streamed = [each.map(lambda s, d: np.zeros((*shape, *s[1:]), d)) for each in (self._inputs, self._targets)]
        examples = np.zeros(shape, np.int32) if self._train else (streamed[0], streamed[1])
        self.run_steps(self.init(0), examples, np.ones(shape), np.zeros(steps))[1].block_until_ready()

    def compile_evaluation(self, state: TrainState) -> None:
        """Compiles ``evaluate`` now, not in its first call.

        Only the shapes and sharding of the state are read; another thread may run steps meanwhile, which use it up.
        """
        evaluation(self._program).lower(self._program, state.measured, self._test).compile()

    def run_steps(
        self,
        state: TrainState,
        examples: Examples,
        weights: npt.NDArray[Any],
        learning_rates: npt.NDArray[Any],
    ) -> tuple[TrainState, Losses]:
        """Starts some training steps on the devices and returns without waiting for them.

        Args:
          state: the state before; it is used up.
          examples: integers ``[steps, batch_size]``, indices of training examples; at most ``chunk_steps`` steps. If
            they are streamed, their inputs and targets, ``[steps, batch_size, ...]``.
          weights: ``[steps, batch_size]``: 1 for an example that counts, 0 for one that fills up the batch.
          learning_rates: ``[steps]``, the factor of each update.

        Returns:
          The state after, and the steps' losses: the mean loss of an example before each update.
        """
        steps = len(learning_rates)
        chunk: Chunk[npt.NDArray[Any]] = Chunk(examples, weights, learning_rates)
        return self.run_chunk(state, chunk, np.full((), steps, np.int32), (steps,))

    def run_chunk(
        self,
        state: TrainState,
        chunk: Chunk[npt.NDArray[Any]],
        numbers: npt.NDArray[np.int32],
        shape: tuple[int, ...],
    ) -> tuple[TrainState, Losses]:
        """Starts some steps of one run, as ``run_steps`` does, or of the runs of a population.

        The arrays of the chunk are on the host; those of a population have a leading axis ``[runs]``, but examples and
        weights ``[devices]`` if they are the same for the runs of each device, of which there are several. ``numbers``,
        int32[] or int32[runs], says how many of its steps to run, and ``shape`` which losses are wanted: those of
        ``(steps,)`` or ``(runs, steps)``.
        """
        *runs, steps = np.shape(chunk.learning_rates)
        if steps > self.chunk_steps:
            raise ValueError(f"at most {self.chunk_steps} steps in a call, got {steps}")
        batches = np.shape(chunk.weights)[:-2]
        program = dataclasses.replace(self._program, shared_batches=batches != tuple(runs))
        padded = (*batches, self.chunk_steps, self._share * program.train.parts * program.train.size)
        rates = (*runs, self.chunk_steps)
        values = (
            _padded_steps(chunk.examples, padded)
            if isinstance(chunk.examples, tuple)
            else _padded_batches(np.asarray(chunk.examples, np.int32), padded),
            _filled(chunk.weights, padded, np.float32),
            _filled(chunk.learning_rates, rates, np.float32),
        )
        losses = self._put(np.zeros(rates, np.float32), program.of_run)
        placed: Chunk[jax.Array] = Chunk(*map(self._put, values, program.of_chunk))
        carry: Carry = (state, losses)
        for number in [numbers] if self.looped else [np.full(runs, index, np.int32) for index in range(steps)]:
            carry = run_chunk(program, carry, self._train, placed, self._put(number, program.of_run))
        return carry[0], Losses(carry[1], shape)

    def evaluate(self, state: TrainState) -> Means:
        """Returns the mean loss, ``"loss"``, and metrics on the test set, float32[] each, still on the devices."""
        return evaluate(self._program, state.measured, self._test)

    def exact(self, means: Means, examples: int) -> dict[str, npt.NDArray[np.float64]]:
        """Returns the means on the host, after they are computed.

        The device computes in float32. A metric that is true or false for an example is a share of the examples, so it
        is rounded to that of a whole number of them.
        """
        exact = {name: np.asarray(values, np.float64) for name, values in jax.device_get(means).items()}
        shares = {name: np.round(exact[name] * examples) / examples for name in self._counted}
        return {**exact, **shares}

    def evaluate_on(self, state: TrainState, split: Split) -> Means:
        """Returns mean loss and metrics, as ``evaluate`` does, on other examples.

        The examples of the last such call stay on the devices.
        """
        parts = MicroBatches.of(len(split), self._share, self._program.test.size)
        program = dataclasses.replace(self._program, test=parts)
        if self._other is None or self._other[0] is not split:
            self._other = (split, self._put_test(split, program))
        return evaluate(program, state.measured, self._other[1])

    def _put_test(self, split: Split, program: Program) -> TestSet:
        """Puts a split on the devices, padded so that it divides evenly."""
        size = self._share * program.test.parts * program.test.size
        weights = np.zeros(size, np.float32)
        weights[: len(split)] = 1
        padded = jax.tree.map(
            lambda leaf: _filled(leaf, (size, *leaf.shape[1:]), leaf.dtype),
            (_narrow(split.inputs), _narrow(split.targets)),
        )
        placed: TestSet = self._put((*padded, weights), program.of_test)
        return placed

    def _put(self, values: Any, spec: PartitionSpec) -> Any:
        sharding = NamedSharding(self._program.mesh, spec)
        if sharding.is_fully_addressable:
            return jax.device_put(values, sharding)
        return jax.tree.map(lambda leaf: _put_own_shards(leaf, sharding), values)


def _padded_steps(examples: tuple[Any, Any], shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Returns the inputs and targets of a chunk, padded to its shape ``(steps, padded batch)``."""
    inputs, targets = jax.tree.map(
        lambda values: _padded_batches(values, (*shape, *values.shape[2:]), 1),
        (_narrow(examples[0]), _narrow(examples[1])),
    )
    return inputs, targets


def _padded_batches(values: npt.NDArray[Any], shape: tuple[int, ...], axis: int = -1) -> npt.NDArray[Any]:
    """Returns the batches of a chunk, padded to a shape; each is filled up with its first example.

    A real example, for a model may return NaN for a blank one; and the same one wherever the data is, for it counts in
    the statistics of batch normalisation.
    """
    filled = _filled(values, shape, values.dtype)
    steps, batch = (np.moveaxis(each, axis, 0) for each in (filled, values))
    steps[(slice(len(batch), None), *map(slice, batch.shape[1:]))] = batch[0]
    return filled


def _narrow(values: Any) -> Any:
    """Returns a tree of arrays with the types that JAX keeps: int32 for int64, float32 for float64."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, jax.dtypes.canonicalize_dtype(leaf.dtype)), values)


def _put_own_shards(values: Any, sharding: NamedSharding) -> jax.Array:
    """Puts the shards of this process's devices there, from an array that every process has whole."""
    if isinstance(values, jax.Array) and not values.is_fully_addressable:
        return values
    whole = np.asarray(values)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def _filled(values: npt.NDArray[Any], shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Copies an array into a larger one of zeros; a copy, because a CPU device may go on using the memory."""
    result = np.zeros(shape, dtype)
    result[tuple(slice(n) for n in np.shape(values))] = values
    return result
