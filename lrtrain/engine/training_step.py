"""The compiled program: a chunk of training steps, and the evaluation of the test set.

Everything here runs on each device of the mesh. Either all devices share one run: each takes its share of a batch, and
they synchronise once a step, to sum their gradients. Or each device trains runs of its own, and never waits for
another; what belongs to a run then has a leading axis ``[runs]``, which the shapes below leave out.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh, PartitionSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    import flax.linen as nn

T = TypeVar("T")
Params: TypeAlias = optax.Params
"""A tree of float32 arrays, as the model names them: ``{"DENSE": {"kernel": [in, out], "bias": [out]}, ...}``."""
TrainSet: TypeAlias = tuple[()] | tuple[jax.Array, jax.Array]
"""Images uint8[examples, height, width, channels] and labels int32[examples]; nothing, if each chunk has its own."""
TestSet: TypeAlias = tuple[jax.Array, jax.Array, jax.Array]
"""Images and labels as in a training set, and weights float32[examples]: 0 for an example that fills up a batch."""
Batch: TypeAlias = jax.Array | tuple[jax.Array, jax.Array]
"""Indices of training examples, int32[batch]; or their images uint8[batch, height, width, channels] and labels."""
Sums: TypeAlias = tuple[Params, jax.Array, jax.Array]
"""The gradients, the losses float32[] and the weights float32[], each summed over the examples of a batch."""

AXIS = "data"
SHARDED = PartitionSpec(AXIS)
REPLICATED = PartitionSpec()

_CPU_OPTIONS = {
    # XLA:CPU itself prefers vectors of 256 bits, also where the processor has wider ones.
    "xla_cpu_prefer_vector_width": 512,
    # XLA:CPU removes barriers before it fuses loops: what `lrtrain.nn.winograd` stages would be computed many times.
    "xla_disable_hlo_passes": "cse_barrier_expander",
}


class TrainState(NamedTuple):
    """All that training changes, on every device of the mesh."""

    params: Params
    opt_state: optax.OptState
    step: jax.Array
    """int32[]: updates done."""


Carry: TypeAlias = tuple[TrainState, jax.Array]
"""The state, and the losses of a chunk's steps, float32[steps]."""


class MicroBatches(NamedTuple):
    """The micro-batches of a device's share of a batch: ``parts`` of them, of ``size`` examples."""

    parts: int
    size: int

    @classmethod
    def of(cls, examples: int, devices: int, largest: int) -> MicroBatches:
        """Splits evenly: no micro-batch has more than ``largest`` examples, and few of them are fillers."""
        share = -(-examples // devices)
        parts = -(-share // largest)
        return cls(parts, -(-share // parts))


@dataclasses.dataclass(frozen=True)
class Program:
    """All that the compiled functions depend on besides the shapes of their arguments; equal programs share them."""

    model: nn.Module
    optimizer: optax.GradientTransformation
    loss_reduction: str
    mesh: Mesh
    train: MicroBatches
    test: MicroBatches
    runs_per_device: int
    """Runs that each device has for itself, trained side by side; 0 when all devices share one run."""
    looped: bool
    """Whether the steps of a chunk run in a loop on the device; a model that is slow in a loop has one step a call."""

    @property
    def platform(self) -> str:
        """The kind of the mesh's devices, such as ``"cpu"``."""
        return str(self.mesh.devices.flat[0].platform)

    @property
    def of_run(self) -> PartitionSpec:
        """The sharding of what belongs to a run, such as its state."""
        return SHARDED if self.runs_per_device else REPLICATED

    @property
    def of_chunk(self) -> tuple[PartitionSpec, PartitionSpec, PartitionSpec]:
        """The sharding of each field of a `Chunk`."""
        own = PartitionSpec(None, AXIS)
        return (SHARDED, SHARDED, SHARDED) if self.runs_per_device else (own, own, REPLICATED)

    @property
    def of_test(self) -> PartitionSpec:
        """The sharding of the test set."""
        return REPLICATED if self.runs_per_device else SHARDED

    def total(self, values: T) -> T:
        """Returns the sums over the devices that share a run."""
        sums: T = values if self.runs_per_device else lax.psum(values, AXIS)
        return sums

    def loss(
        self, params: Params, images: jax.Array, labels: jax.Array, weights: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Maps uint8 images ``[b, h, w, c]`` to the weighted sum of cross-entropies and the logits ``[b, classes]``."""
        logits: Any = self.model.apply({"params": params}, images.astype(jnp.float32) / 255)
        return jnp.sum(weights * optax.softmax_cross_entropy_with_integer_labels(logits, labels)), logits

    def on_mesh(self, function: Callable[..., T], *in_specs: PartitionSpec | Chunk[PartitionSpec]) -> Callable[..., T]:
        """Returns a function that runs on every device of the mesh; its results belong to runs."""
        # Without check_vma a model may hold loops of its own whose carry begins as a constant.
        return jax.shard_map(function, mesh=self.mesh, in_specs=in_specs, out_specs=self.of_run, check_vma=False)


Part = TypeVar("Part")


class Chunk(NamedTuple, Generic[Part]):
    """The steps of one call: arrays of the host or of the devices; or the sharding of each.

    The last steps may be fillers, which are not run.
    """

    examples: Part | tuple[Part, Part]
    """int32[steps, padded batch], indices of training examples; or, if those are streamed, the images and labels
    themselves, uint8[steps, padded batch, height, width, channels] and int32[steps, padded batch]."""
    weights: Part
    """float32[steps, padded batch]."""
    learning_rates: Part
    """float32[steps]."""


def _each_run(program: Program, function: Callable[..., T]) -> Callable[..., T]:
    """Returns a function of one run as a function of all runs of a device."""
    if program.runs_per_device != 1:
        return jax.vmap(function) if program.runs_per_device else function

    # A vmap would make other, slower convolutions.
    def of_only_run(*runs: Any) -> T:
        result: T = jax.tree.map(lambda v: v[None], function(*jax.tree.map(lambda v: v[0], runs)))
        return result

    return of_only_run


@functools.cache
def initializer(platform: str) -> jax.stages.Wrapped:
    """Returns the compiled ``(model, optimizer, image_shape, key) -> TrainState`` of a platform."""
    # Random numbers take LLVM four seconds to optimise, for a function that runs once.
    options = {"xla_backend_optimization_level": 1} if platform == "cpu" else None
    return jax.jit(_init, static_argnums=(0, 1, 2), compiler_options=options)


def _init(
    model: nn.Module, optimizer: optax.GradientTransformation, image_shape: tuple[int, ...], key: jax.Array
) -> TrainState:
    """Returns the state at step 0."""
    params = model.init(key, jnp.zeros((1, *image_shape)))["params"]
    state = TrainState(params, optimizer.init(params), jnp.int32(0))
    # A weakly typed leaf would come back from the first step with another type and compile it again.
    strong: TrainState = jax.tree.map(lambda leaf: lax.convert_element_type(leaf, jnp.asarray(leaf).dtype), state)
    return strong


def run_chunk(program: Program, carry: Carry, train: TrainSet, chunk: Chunk[jax.Array], number: jax.Array) -> Carry:
    """Runs the first ``number`` steps of a chunk in a loop; or, if the program has none, the one step at ``number``.

    The number is int32[] data, so a short chunk compiles nothing; a population has one for each run, and those of one
    device are equal. The carry is donated.
    """
    after: Carry = _compiled(_run_chunk, program.platform, donated=(1,))(program, carry, train, chunk, number)
    return after


def _run_chunk(program: Program, carry: Carry, train: TrainSet, chunk: Chunk[jax.Array], numbers: jax.Array) -> Carry:
    def on_device(carry: Carry, train: TrainSet, chunk: Chunk[jax.Array], numbers: jax.Array) -> Carry:
        # With a number for each run, every iteration would choose between old and new state.
        number = jnp.max(numbers)

        def run(carry: Carry, chunk: Chunk[jax.Array]) -> Carry:
            if not program.looped:
                return _step(program, carry, train, chunk, number)
            after: Carry = lax.fori_loop(
                0, number, lambda index, carry: _step(program, carry, train, chunk, index), carry
            )
            return after

        return _each_run(program, run)(carry, chunk)

    in_specs = (program.of_run, REPLICATED, Chunk(*program.of_chunk), program.of_run)
    return program.on_mesh(on_device, *in_specs)(carry, train, chunk, numbers)


@functools.cache
def _compiled(function: Callable[..., T], platform: str, donated: tuple[int, ...] = ()) -> jax.stages.Wrapped:
    options = _CPU_OPTIONS if platform == "cpu" else None
    return jax.jit(function, static_argnums=0, donate_argnums=donated, compiler_options=options)


def _step(program: Program, carry: Carry, train: TrainSet, chunk: Chunk[jax.Array], index: jax.Array) -> Carry:
    """Returns the carry after one step on one device: ``params - learning_rate * update``, and the loss before it."""
    state, losses = carry
    examples, weights, learning_rate = jax.tree.map(lambda values: values[index], chunk)
    gradients, loss, total = program.total(_accumulate(program, state.params, train, examples, weights))
    mean_loss = loss / total
    if program.loss_reduction == "mean":
        gradients, loss = jax.tree.map(lambda g: (g / total).astype(g.dtype), gradients), mean_loss
    transformation = optax.with_extra_args_support(program.optimizer)
    updates, opt_state = transformation.update(gradients, state.opt_state, state.params, value=loss, grad=gradients)
    params = jax.tree.map(lambda p, u: (p - learning_rate * u).astype(p.dtype), state.params, updates)
    return TrainState(params, opt_state, state.step + 1), losses.at[index].set(mean_loss)


def _accumulate(program: Program, params: Params, train: TrainSet, examples: Batch, weights: jax.Array) -> Sums:
    """Sums gradients, losses and weights over a device's share of a batch, one micro-batch after another."""

    def micro(examples: Batch, weights: jax.Array) -> Sums:
        images, labels = (values[examples] for values in train) if train else examples
        loss = jax.value_and_grad(program.loss, has_aux=True)
        (value, _), gradients = loss(params, images, labels, weights)
        return gradients, value, jnp.sum(weights)

    if program.train.parts == 1:
        return micro(examples, weights)
    split = jax.tree.map(lambda values: values.reshape(*program.train, *values.shape[1:]), (examples, weights))
    zeros = jax.tree.map(jnp.zeros_like, (params, jnp.float32(0), jnp.float32(0)))
    sums: Sums = lax.scan(lambda sums, part: (jax.tree.map(jnp.add, sums, micro(*part)), None), zeros, split)[0]
    return sums


def evaluate(program: Program, params: Params, test: TestSet) -> tuple[jax.Array, jax.Array]:
    """Returns the mean loss and the accuracy on a test set, float32[] each."""
    results: tuple[jax.Array, jax.Array] = evaluation(program)(program, params, test)
    return results


def evaluation(program: Program) -> jax.stages.Wrapped:
    """Returns ``evaluate`` as it is compiled."""
    return _compiled(_evaluate, program.platform)


def _evaluate(program: Program, params: Params, test: TestSet) -> tuple[jax.Array, jax.Array]:
    def on_device(params: Params, test: TestSet) -> tuple[jax.Array, jax.Array]:
        def run(params: Params) -> tuple[jax.Array, jax.Array]:
            split = jax.tree.map(lambda values: values.reshape(*program.test, *values.shape[1:]), test)
            sums = lax.scan(functools.partial(_evaluate_part, program, params), (jnp.float32(0),) * 3, split)[0]
            loss, correct, total = program.total(sums)
            return loss / total, correct / total

        return _each_run(program, run)(params)

    return program.on_mesh(on_device, program.of_run, program.of_test)(params, test)


def _evaluate_part(
    program: Program, params: Params, sums: tuple[jax.Array, jax.Array, jax.Array], part: TestSet
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], None]:
    """Adds the loss, the correct answers and the weights of a part of the test set to the sums."""
    images, labels, weights = part
    loss, logits = program.loss(params, images, labels, weights)
    correct = jnp.sum(weights * (jnp.argmax(logits, -1) == labels))
    return jax.tree.map(jnp.add, sums, (loss, correct, jnp.sum(weights))), None


def gradient_program(model: nn.Module, images: jax.ShapeDtypeStruct) -> tuple[Params, Any]:
    """Returns the shapes of a model's parameters, and the program of their gradients, ``jaxpr``; computes nothing."""

    def total(params: Params, images: jax.Array) -> jax.Array:
        return jnp.sum(jnp.asarray(model.apply({"params": params}, images)))

    params = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    return params, jax.make_jaxpr(jax.grad(total))(params, images)
