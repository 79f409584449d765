"""What the engine compiles: a chunk of training steps, and the evaluation of the test set.

Everything here runs on each device of the mesh. Either all devices share one run: each takes its share of a batch, and
they meet once a step, to sum their gradients. Or each device trains runs of its own, and never waits for another.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh, PartitionSpec

if TYPE_CHECKING:
    import flax.linen as nn

AXIS = "data"
SHARDED = PartitionSpec(AXIS)
REPLICATED = PartitionSpec()

_CPU_OPTIONS = {
    # XLA:CPU itself prefers vectors of 256 bits, also where the processor has wider ones.
    "xla_cpu_prefer_vector_width": 512,
    # It removes barriers before it fuses loops, and would then compute what `lrtrain.nn.winograd` stages many times.
    "xla_disable_hlo_passes": "cse_barrier_expander",
}


class TrainState(NamedTuple):
    """All that training changes, on every device of the mesh."""

    params: Any
    opt_state: Any
    step: jax.Array
    """int32[]: updates done."""


class MicroBatches(NamedTuple):
    """How a device goes through its share: ``parts`` micro-batches of ``size`` examples."""

    parts: int
    size: int

    @classmethod
    def of(cls, examples: int, devices: int, largest: int) -> MicroBatches:
        """Splits evenly: no micro-batch has more than ``largest`` examples, and few places stay empty."""
        share = -(-examples // devices)
        parts = -(-share // largest)
        return cls(parts, -(-share // parts))


@dataclasses.dataclass(frozen=True)
class Program:
    """What the compiled functions depend on besides the shapes of their arguments; equal programs share them."""

    model: nn.Module
    optimizer: optax.GradientTransformation
    loss_reduction: str
    mesh: Mesh
    train: MicroBatches
    test: MicroBatches
    group: int = 0
    """Runs that each device has for itself, trained side by side; 0 when all devices share one run."""

    @property
    def platform(self) -> str:
        """What kind of devices the mesh has, such as ``"cpu"``."""
        return str(self.mesh.devices.flat[0].platform)

    @property
    def of_run(self) -> PartitionSpec:
        """How that lies on the mesh which a run has for itself, such as its state."""
        return SHARDED if self.group else REPLICATED

    @property
    def of_chunk(self) -> Chunk:
        """How the parts of a chunk lie on the mesh."""
        own = PartitionSpec(None, AXIS)
        return Chunk(SHARDED, SHARDED, SHARDED) if self.group else Chunk(own, own, REPLICATED)

    @property
    def of_test(self) -> PartitionSpec:
        """How the test set lies on the mesh."""
        return REPLICATED if self.group else SHARDED

    def total(self, values: Any) -> Any:
        """Sums over the devices that share a run."""
        return values if self.group else lax.psum(values, AXIS)

    def loss(self, params: Any, images: jax.Array, labels: jax.Array, weights: jax.Array) -> tuple[jax.Array, Any]:
        """Maps uint8 images ``[b, h, w, c]`` to the weighted sum of cross-entropies and the logits ``[b, classes]``."""
        logits = self.model.apply({"params": params}, images.astype(jnp.float32) / 255)
        return jnp.sum(weights * optax.softmax_cross_entropy_with_integer_labels(logits, labels)), logits

    def on_mesh(self, function: Any, *in_specs: Any) -> Any:
        """Runs a function on every device of the mesh; what it returns belongs to runs."""
        # Without check_vma a model may hold loops of its own whose carry begins as a constant.
        return jax.shard_map(function, mesh=self.mesh, in_specs=in_specs, out_specs=self.of_run, check_vma=False)


class Chunk(NamedTuple):
    """The steps of one call, the last ones possibly not to be run; or how each part of it lies on the mesh."""

    examples: Any
    """int32[steps, padded batch], which of those on the devices; or, if none are, their images and labels themselves,
    uint8[steps, padded batch, height, width, channels] and int32[steps, padded batch]."""
    weights: Any
    """float32[steps, padded batch]."""
    learning_rates: Any
    """float32[steps]."""


def _steps_on_mesh(program: Program, steps: Any) -> Any:
    """Runs ``steps(carry, train, chunk, number)`` of one run on every device, for each run that it has."""

    def on_device(carry: Any, train: Any, chunk: Chunk, numbers: jax.Array) -> Any:
        # With a number for each run, every iteration would choose between old and new state.
        number = jnp.max(numbers)
        return _each_run(program, lambda carry, chunk: steps(carry, train, chunk, number))(carry, chunk)

    return program.on_mesh(on_device, program.of_run, REPLICATED, program.of_chunk, program.of_run)


def _each_run(program: Program, function: Any) -> Any:
    """Makes a function of what one run has one of what all runs of a device have."""
    if program.group != 1:
        return jax.vmap(function) if program.group else function
    # A vmap would make other, slower convolutions.
    return lambda *runs: jax.tree.map(lambda v: v[None], function(*jax.tree.map(lambda v: v[0], runs)))


@functools.cache
def initializer(platform: str) -> Any:
    """Returns the compiled ``(model, optimizer, image_shape, key) -> TrainState`` of a platform."""
    # Random numbers take LLVM four seconds to optimise, for a function that runs once.
    options = {"xla_backend_optimization_level": 1} if platform == "cpu" else None
    return jax.jit(_init, static_argnums=(0, 1, 2), compiler_options=options)


def _init(model: nn.Module, optimizer: Any, image_shape: tuple[int, ...], key: jax.Array) -> TrainState:
    """Makes the state at step 0."""
    params = model.init(key, jnp.zeros((1, *image_shape)))["params"]
    state = TrainState(params, optimizer.init(params), jnp.int32(0))
    # A weakly typed leaf would come back from the first step with another type and compile it again.
    strong: TrainState = jax.tree.map(lambda leaf: lax.convert_element_type(leaf, jnp.asarray(leaf).dtype), state)
    return strong


def run_chunk(program: Program, carry: tuple[TrainState, jax.Array], train: Any, chunk: Chunk, count: jax.Array) -> Any:
    """Runs the first ``count`` steps of a chunk in a loop; ``count`` is data, so a short chunk compiles nothing.

    Args:
        program: What is compiled.
        carry: The state, and float32[steps] for the losses.
        train: Images and labels; nothing, if the chunk brings its own.
        chunk: The steps.
        count: int32[], how many of them to run. A population has one for each run; those of one device are equal.

    Returns:
        The carry after.
    """
    return _compiled(_run_chunk, program.platform, donated=(1,))(program, carry, train, chunk, count)


def _run_chunk(program: Program, carry: Any, train: Any, chunk: Chunk, count: jax.Array) -> Any:
    def run(carry: Any, train: Any, chunk: Chunk, count: jax.Array) -> Any:
        return lax.fori_loop(0, count, lambda index, carry: _step(program, carry, train, chunk, index), carry)

    return _steps_on_mesh(program, run)(carry, train, chunk, count)


def run_one(program: Program, carry: tuple[TrainState, jax.Array], train: Any, chunk: Chunk, index: jax.Array) -> Any:
    """Runs the one step of a chunk at ``index``, outside any loop, for models that are slow in one."""
    return _compiled(_run_one, program.platform, donated=(1,))(program, carry, train, chunk, index)


def _run_one(program: Program, carry: Any, train: Any, chunk: Chunk, index: jax.Array) -> Any:
    return _steps_on_mesh(program, functools.partial(_step, program))(carry, train, chunk, index)


@functools.cache
def _compiled(function: Any, platform: str, donated: tuple[int, ...] = ()) -> Any:
    options = _CPU_OPTIONS if platform == "cpu" else None
    return jax.jit(function, static_argnums=0, donate_argnums=donated, compiler_options=options)


def _step(program: Program, carry: tuple[TrainState, jax.Array], train: Any, chunk: Chunk, index: jax.Array) -> Any:
    """Does one step on one device and notes its loss."""
    state, losses = carry
    examples, weights, learning_rate = jax.tree.map(lambda values: values[index], chunk)
    gradients, loss, total = program.total(_accumulate(program, state.params, train, examples, weights))
    mean_loss = loss / total
    if program.loss_reduction == "mean":
        gradients, loss = jax.tree.map(lambda g: g / total, gradients), mean_loss
    transformation = optax.with_extra_args_support(program.optimizer)
    updates, opt_state = transformation.update(gradients, state.opt_state, state.params, value=loss, grad=gradients)
    params = jax.tree.map(lambda p, u: (p - learning_rate * u).astype(p.dtype), state.params, updates)
    return TrainState(params, opt_state, state.step + 1), losses.at[index].set(mean_loss)


def _accumulate(program: Program, params: Any, train: Any, examples: Any, weights: jax.Array) -> Any:
    """Sums gradients, losses and weights over a device's share of a batch, one micro-batch after another."""

    def micro(examples: Any, weights: jax.Array) -> Any:
        images, labels = (values[examples] for values in train) if train else examples
        loss = jax.value_and_grad(program.loss, has_aux=True)
        (value, _), gradients = loss(params, images, labels, weights)
        return gradients, value, jnp.sum(weights)

    if program.train.parts == 1:
        return micro(examples, weights)
    split = jax.tree.map(lambda values: values.reshape(*program.train, *values.shape[1:]), (examples, weights))
    zeros = jax.tree.map(jnp.zeros_like, (params, jnp.float32(0), jnp.float32(0)))
    return lax.scan(lambda sums, part: (jax.tree.map(jnp.add, sums, micro(*part)), None), zeros, split)[0]


def evaluate(program: Program, params: Any, test: Any) -> Any:
    """Goes through the test set (images, labels, weights): mean loss and accuracy."""
    return evaluation(program)(program, params, test)


def evaluation(program: Program) -> Any:
    """Returns ``evaluate`` as it is compiled."""
    return _compiled(_evaluate, program.platform)


def _evaluate(program: Program, params: Any, test: Any) -> Any:
    def run(params: Any, test: Any) -> Any:
        split = jax.tree.map(lambda values: values.reshape(*program.test, *values.shape[1:]), test)
        sums = lax.scan(functools.partial(_evaluate_part, program, params), (jnp.float32(0),) * 3, split)[0]
        loss, correct, total = program.total(sums)
        return loss / total, correct / total

    def on_device(params: Any, test: Any) -> Any:
        return _each_run(program, lambda params: run(params, test))(params)

    return program.on_mesh(on_device, program.of_run, program.of_test)(params, test)


def _evaluate_part(program: Program, params: Any, sums: Any, examples: tuple[jax.Array, ...]) -> Any:
    images, labels, weights = examples
    loss, logits = program.loss(params, images, labels, weights)
    correct = jnp.sum(weights * (jnp.argmax(logits, -1) == labels))
    return jax.tree.map(jnp.add, sums, (loss, correct, jnp.sum(weights))), None
