"""Training and evaluation of one network, compiled, over a mesh of devices; it knows arrays and nothing else.

The data lives on the devices. One call runs a chunk of steps in a loop on the device; each step splits its batch over
the devices, goes through each device's share in micro-batches that fit a core's cache, sums the gradients and applies
the optimizer's update times the learning rate, which is an argument. So one compilation serves every schedule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lrtrain import step
from lrtrain.conv import is_slow_in_loop
from lrtrain.step import TrainState

if TYPE_CHECKING:
    from collections.abc import Sequence

    import flax.linen as nn
    import numpy.typing as npt
    import optax

__all__ = ["Engine", "Losses", "Split", "TrainState"]

# Measured with the default network: the activations of 16 images fit a core's second-level cache.
_CPU_MICRO_BATCH = 16
_CPU_TEST_BATCH = 128
_ACCELERATOR_TEST_BATCH = 4096


class Split(Protocol):
    """Images and labels of one part of a data set."""

    @property
    def images(self) -> npt.NDArray[np.uint8]:
        """Pixels ``[examples, height, width, channels]``, 0 to 255."""

    @property
    def labels(self) -> npt.NDArray[Any]:
        """Classes ``[examples]``, from 0."""


class Losses:
    """The losses of one call of ``run_steps``, still on the devices; ``numpy.asarray`` waits for them."""

    def __init__(self, buffer: jax.Array, count: int) -> None:
        self._buffer = buffer
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Waits for the steps and returns float32[steps]: the mean loss of an example in each step's batch."""
        return np.array(jax.device_get(self._buffer)[: self._count], dtype=dtype)

    def block_until_ready(self) -> Losses:
        """Waits for the steps."""
        self._buffer.block_until_ready()
        return self


class Engine:
    """Trains and evaluates one network on data that stays on the devices.

    Engines that are made alike share what is compiled, so any number of runs in one process compile once.
    """

    def __init__(  # noqa: PLR0913
        self,
        model: nn.Module,
        optimizer: optax.GradientTransformation,
        train: Split,
        test: Split,
        *,
        batch_size: int,
        loss_reduction: str = "sum",
        devices: Sequence[jax.Device] | None = None,
        micro_batch: int | None = None,
        chunk_steps: int = 16,
    ) -> None:
        """Puts the data on the devices.

        Args:
            model: Maps float32 images ``[batch, height, width, channels]`` in [0, 1] to logits ``[batch, classes]``.
            optimizer: Its updates are multiplied by the learning rate and subtracted from the parameters.
            train: The examples that the order of ``run_steps`` refers to.
            test: The examples of ``evaluate``.
            batch_size: Examples in a step.
            loss_reduction: ``"sum"`` or ``"mean"``: which of a batch's losses the gradient is taken of.
            devices: Devices of one kind; None for all local ones.
            micro_batch: Largest number of examples that a device takes at once; None for 16 on CPU and all elsewhere.
                It changes nothing but the last bits, and is not heeded on CPU for a model that is slow in a loop.
            chunk_steps: Largest number of steps in a call of ``run_steps``.
        """
        if loss_reduction not in ("sum", "mean"):
            raise ValueError(f"loss_reduction is 'sum' or 'mean', got {loss_reduction!r}")
        devices = list(devices or jax.local_devices())
        on_cpu = devices[0].platform == "cpu"
        self.batch_size = batch_size
        self.chunk_steps = chunk_steps
        self.looped = not (on_cpu and _is_slow_in_loop(model, train.images.shape[1:]))
        if not self.looped or (micro_batch is None and not on_cpu):
            micro_batch = batch_size
        test_batch = _CPU_TEST_BATCH if on_cpu else _ACCELERATOR_TEST_BATCH
        self._program = step.Program(
            model,
            optimizer,
            loss_reduction,
            Mesh(np.asarray(devices), (step.AXIS,)),
            step.MicroBatches.of(batch_size, len(devices), micro_batch or _CPU_MICRO_BATCH),
            step.MicroBatches.of(len(test.labels), len(devices), test_batch),
        )
        self._image_shape = train.images.shape[1:]
        self._train = self._put((train.images, np.asarray(train.labels, np.int32)), step.REPLICATED)
        self._test = self._put(self._padded_test(test), step.SHARDED)

    @property
    def num_devices(self) -> int:
        """The number of devices of the mesh."""
        return int(self._program.mesh.size)

    def init(self, seed: int) -> TrainState:
        """Returns fresh parameters and optimizer state, on every device.

        Args:
            seed: Seed of the parameters, as in ``jax.random.PRNGKey(seed)``.
        """
        init = step.initializer(self._program.mesh.devices.flat[0].platform)
        key = jax.random.PRNGKey(seed)
        return self.place(init(self._program.model, self._program.optimizer, self._image_shape, key))

    def place(self, state: TrainState) -> TrainState:
        """Puts a state, such as a restored one, on every device, so that ``run_steps`` takes it as it is."""
        placed: TrainState = self._put(state, step.REPLICATED)
        return placed

    def compile(self) -> None:
        """Compiles ``run_steps``, unless an engine made alike has; otherwise its first call does it."""
        steps = 0 if self.looped else 1
        order, weights = np.zeros((steps, self.batch_size), np.int32), np.ones((steps, self.batch_size))
        self.run_steps(self.init(0), order, weights, np.zeros(steps))[1].block_until_ready()

    def compile_evaluation(self, state: TrainState) -> None:
        """Compiles ``evaluate``, which its first call does otherwise.

        Args:
            state: Only its shapes and places are read; it may be used up meanwhile, by steps that another thread runs.
        """
        step.evaluate.lower(self._program, state.params, self._test).compile()

    def run_steps(
        self,
        state: TrainState,
        order: npt.NDArray[Any],
        weights: npt.NDArray[Any],
        learning_rates: npt.NDArray[Any],
    ) -> tuple[TrainState, Losses]:
        """Starts some training steps on the devices and returns without waiting for them.

        Args:
            state: The state before; it is used up.
            order: Integers ``[steps, batch_size]``, indices of training examples; at most ``chunk_steps`` steps.
            weights: ``[steps, batch_size]``: 1 for an example that counts, 0 for one that fills up the batch.
            learning_rates: ``[steps]``, the factor of each update.

        Returns:
            The state after, and the steps' losses: the mean cross-entropy of an example before each update.
        """
        steps = len(order)
        if steps > self.chunk_steps:
            raise ValueError(f"at most {self.chunk_steps} steps in a call, got {steps}")
        padded = (self.chunk_steps, self.num_devices * self._program.train.parts * self._program.train.size)
        values = (
            _filled(order, padded, np.int32),
            _filled(weights, padded, np.float32),
            _filled(learning_rates, padded[:1], np.float32),
        )
        return self._run(state, step.Chunk(*map(self._put, values, step.CHUNK_SPECS)), steps)

    def evaluate(self, state: TrainState) -> tuple[jax.Array, jax.Array]:
        """Returns the mean loss and the accuracy on the test set, float32[] each, still on the devices."""
        mean_loss, accuracy = step.evaluate(self._program, state.params, self._test)
        return mean_loss, accuracy

    def _run(self, state: TrainState, chunk: step.Chunk, steps: int) -> tuple[TrainState, Losses]:
        carry = (state, self._put(np.zeros(self.chunk_steps, np.float32), step.REPLICATED))
        if self.looped:
            carry = step.run_chunk(
                self._program, carry, self._train, chunk, self._put(np.int32(steps), step.REPLICATED)
            )
        else:
            for index in range(steps):
                at = self._put(np.int32(index), step.REPLICATED)
                carry = step.run_one(self._program, carry, self._train, chunk, at)
        return carry[0], Losses(carry[1], steps)

    def _put(self, values: Any, spec: PartitionSpec) -> Any:
        return jax.device_put(values, NamedSharding(self._program.mesh, spec))

    def _padded_test(self, test: Split) -> tuple[npt.NDArray[Any], ...]:
        size = self.num_devices * self._program.test.parts * self._program.test.size
        images = _filled(test.images, (size, *self._image_shape), test.images.dtype)
        weights = np.ones(len(test.labels), np.float32)
        return images, _filled(test.labels, (size,), np.int32), _filled(weights, (size,), np.float32)


def _filled(values: npt.NDArray[Any], shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    """Copies an array into a larger one of zeros; a copy, because a CPU device may go on using the memory."""
    result = np.zeros(shape, dtype)
    result[tuple(slice(n) for n in np.shape(values))] = values
    return result


def _is_slow_in_loop(model: nn.Module, image_shape: tuple[int, ...]) -> bool:
    def total(params: Any, images: jax.Array) -> jax.Array:
        return jnp.sum(jnp.asarray(model.apply({"params": params}, images)))

    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    return is_slow_in_loop(jax.make_jaxpr(jax.grad(total))(params, images))
