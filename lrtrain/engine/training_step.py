"""The compiled program: a chunk of training steps, and the evaluation of the test set.

Everything here runs on each device of the mesh. Either all devices share one run: each takes its share of a batch, and
they synchronise once a step, to sum their gradients. Or each device trains runs of its own, and never waits for
another; what belongs to a run then has a leading axis ``[runs]``, which the shapes below leave out.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from lrtrain.nn.network import NeedsKeyError, Network
from lrtrain.workloads.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
Params: TypeAlias = optax.Params
"""A tree of arrays, as the network names them: ``{"DENSE": {"kernel": [in, out], "bias": [out]}, ...}``."""
Tree: TypeAlias = Any
"""A tree of arrays."""
Pair: TypeAlias = tuple[Tree, Tree]
"""Inputs and targets of examples, trees of arrays ``[examples, ...]``; or parameters and the network's other state."""
TrainSet: TypeAlias = tuple[()] | Pair
"""The training examples; nothing, if each chunk has its own."""
TestSet: TypeAlias = tuple[Tree, Tree, jax.Array]
"""Inputs and targets, and weights float32[examples]: 0 for an example that fills up a batch."""
Batch: TypeAlias = jax.Array | Pair
"""Indices of training examples, int32[batch]; or their inputs and targets."""
Sums: TypeAlias = tuple[Params, jax.Array, jax.Array]
"""The gradients, the losses float32[] and the weights float32[], each summed over the examples of a batch."""

AXIS = "data"
SHARDED = PartitionSpec(AXIS)
REPLICATED = PartitionSpec()

# What the key of the training derives from that of the first parameters.
_OF_TRAINING = 1
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
    network: Tree = ()
    """The network's state besides its parameters, such as the running averages of batch normalisation."""
    key: Tree = ()
    """uint32[2], from which all that is drawn at random in training derives; () if nothing is."""
    average: Params = ()
    """The moving average of the parameters; () if there is none."""

    @property
    def measured(self) -> Pair:
        """The parameters that are evaluated, and the network's other state."""
        return (self.average if jax.tree.leaves(self.average) else self.params), self.network


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
class Rules:
    """What is trained and how, wherever that is: equal rules have equal results up to rounding."""

    network: Network
    workload: Workload
    """Its loss and the like; it has no data."""
    optimizer: optax.GradientTransformation
    loss_reduction: str
    decay: float | None
    """That of the moving average of the parameters; None if there is none."""
    draws: bool
    """Whether the network draws random numbers when it is trained."""
    has_state: bool
    """Whether the network has a state besides its parameters, so that it sees a batch as a whole."""

    @property
    def augments(self) -> bool:
        """Whether the workload changes its training examples at random."""
        return type(self.workload).augment is not Workload.augment

    def outputs(self, measured: Pair, inputs: Tree) -> Any:
        """Returns the network's outputs for raw inputs, when it is evaluated."""
        return self.network.apply(*measured, self.workload.inputs(inputs))[0]

    def trained_outputs(self, params: Params, state: Tree, inputs: Tree, keys: Tree) -> tuple[Any, Tree]:
        """Returns the network's outputs for raw inputs when it is trained, and its state after it.

        ``keys`` are uint32[batch, 2], one for each example, if anything is drawn at random.
        """
        if self.augments:
            inputs = jax.vmap(self.workload.augment)(inputs, _derived(keys, 0))
        inputs = self.workload.inputs(inputs)
        if not self.draws:
            return self.network.apply(params, state, inputs, train=True)
        keys = _derived(keys, 1)
        if self.has_state:
            return self.network.apply(params, state, inputs, train=True, key=keys[0])

        # Each example has its own numbers, so the result is the same for any number of devices and micro-batches.
        def of_one(inputs: Tree, key: jax.Array) -> Any:
            alone = jax.tree.map(lambda leaf: leaf[None], inputs)
            outputs, _ = self.network.apply(params, state, alone, train=True, key=key)
            return jax.tree.map(lambda leaf: leaf[0], outputs)

        return jax.vmap(of_one)(inputs, keys), state


@dataclasses.dataclass(frozen=True)
class Program:
    """All that the compiled functions depend on besides the shapes of their arguments; equal programs share them."""

    rules: Rules
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
    """int32[steps, padded batch], indices of training examples; or, if those are streamed, their inputs and targets,
    ``[steps, padded batch, ...]``."""
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


def _derived(keys: jax.Array, number: int) -> jax.Array:
    """Returns other keys, uint32[batch, 2], for one of several uses."""
    return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


@functools.cache
def initializer(platform: str) -> jax.stages.Wrapped:
    """Returns the compiled ``(rules, maker, inputs, key) -> TrainState`` of a platform; inputs are of one example.

    Networks of equal structure are equal and may have other first parameters: their makers distinguish them.
    """
    # Random numbers take LLVM four seconds to optimise, for a function that runs once.
    options = {"xla_backend_optimization_level": 1} if platform == "cpu" else None
    return jax.jit(_init, static_argnums=(0, 1, 2), compiler_options=options)


class Leaves(NamedTuple):
    """The shapes and types of a tree of arrays, to be hashed."""

    tree: Any
    leaves: tuple[tuple[tuple[int, ...], str], ...]

    @classmethod
    def of(cls, values: Tree, *lead: int) -> Leaves:
        """Returns those of examples, of which there are as many as the leading axes say."""
        leaves, tree = jax.tree.flatten(values)
        types = (jax.dtypes.canonicalize_dtype(leaf.dtype).name for leaf in leaves)
        return cls(tree, tuple(((*lead, *leaf.shape[1:]), kind) for leaf, kind in zip(leaves, types, strict=True)))

    def map(self, function: Callable[[tuple[int, ...], str], Any]) -> Tree:
        """Returns a tree with the result of the function for each shape and type."""
        return self.tree.unflatten([function(*leaf) for leaf in self.leaves])


def _init(rules: Rules, _: Any, inputs: Leaves, key: jax.Array) -> TrainState:
    """Returns the state at step 0."""
    params, network = rules.network.init(key, rules.workload.inputs(inputs.map(jnp.zeros)))
    drawn = jax.random.fold_in(key, _OF_TRAINING) if rules.draws or rules.augments else ()
    # Not the same buffers, which a step uses up.
    average = () if rules.decay is None else jax.tree.map(jnp.copy, params)
    state = TrainState(params, rules.optimizer.init(params), jnp.int32(0), network, drawn, average)
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
    (state, losses), rules = carry, program.rules
    examples, weights, learning_rate = jax.tree.map(lambda values: values[index], chunk)
    sums, network = _accumulate(program, state, train, examples, weights)
    gradients, loss, total = program.total(sums)
    mean_loss = loss / total
    if rules.loss_reduction == "mean":
        gradients, loss = jax.tree.map(lambda g: (g / total).astype(g.dtype), gradients), mean_loss
    transformation = optax.with_extra_args_support(rules.optimizer)
    updates, opt_state = transformation.update(gradients, state.opt_state, state.params, value=loss, grad=gradients)
    params = jax.tree.map(lambda p, u: (p - learning_rate * u).astype(p.dtype), state.params, updates)
    average = state.average if rules.decay is None else _moved(rules.decay, state.average, params)
    after = TrainState(params, opt_state, state.step + 1, network, state.key, average)
    return after, losses.at[index].set(mean_loss)


def _moved(decay: float, average: Params, params: Params) -> Params:
    moved: Params = jax.tree.map(lambda a, p: (a + (1 - decay) * (p - a)).astype(a.dtype), average, params)
    return moved


def _accumulate(
    program: Program, state: TrainState, train: TrainSet, examples: Batch, weights: jax.Array
) -> tuple[Sums, Tree]:
    """Sums gradients, losses and weights over a device's share of a batch, one micro-batch after another.

    Returns these, and the network's state after the batch, the mean over the devices.
    """
    rules = program.rules

    def micro(network: Tree, examples: Batch, weights: jax.Array, keys: Tree) -> tuple[Sums, Tree]:
        inputs, targets = jax.tree.map(lambda values: values[examples], train) if train else examples

        def total(params: Params) -> tuple[jax.Array, Tree]:
            outputs, after = rules.trained_outputs(params, network, inputs, keys)
            return jnp.sum(weights * rules.workload.training_loss(outputs, targets)), after

        (value, after), gradients = jax.value_and_grad(total, has_aux=True)(state.params)
        return (gradients, value, jnp.sum(weights)), after

    keys = _keys(program, state, len(weights))
    if program.train.parts == 1:
        sums, network = micro(state.network, examples, weights, keys)
        return sums, _mean_over_devices(program, network)
    split = jax.tree.map(lambda values: values.reshape(*program.train, *values.shape[1:]), (examples, weights, keys))
    zeros = jax.tree.map(jnp.zeros_like, (state.params, jnp.float32(0), jnp.float32(0)))

    def added(before: tuple[Sums, Tree], part: tuple[Batch, jax.Array, Tree]) -> tuple[tuple[Sums, Tree], None]:
        sums, network = micro(before[1], *part)
        return (jax.tree.map(jnp.add, before[0], sums), network), None

    before = (zeros, state.network)
    if program.looped:
        sums, network = lax.scan(added, before, split)[0]
    else:
        parts = [jax.tree.map(operator.itemgetter(part), split) for part in range(program.train.parts)]
        sums, network = functools.reduce(lambda carry, part: added(carry, part)[0], parts, before)
    return sums, _mean_over_devices(program, network)


def _keys(program: Program, state: TrainState, share: int) -> Tree:
    """Returns a key for each example of a device's share, uint32[share, 2]: of seed, step and place in the batch."""
    if not (program.rules.draws or program.rules.augments):
        return ()
    first = 0 if program.runs_per_device else lax.axis_index(AXIS) * share
    of_step = jax.random.fold_in(state.key, state.step)
    return jax.vmap(lambda place: jax.random.fold_in(of_step, place))(first + jnp.arange(share))


def _mean_over_devices(program: Program, network: Tree) -> Tree:
    """Returns the network's state, the same on all devices; its whole numbers, such as counts, are the same already."""
    if program.runs_per_device:
        return network
    return jax.tree.map(lambda v: lax.pmean(v, AXIS) if jnp.issubdtype(v.dtype, jnp.floating) else v, network)


Means: TypeAlias = "dict[str, jax.Array]"
"""The mean loss, ``"loss"``, and the means of the metrics, float32[] each."""


def evaluate(program: Program, measured: Pair, test: TestSet) -> Means:
    """Returns the mean loss and metrics on a test set."""
    means: Means = evaluation(program)(program, measured, test)
    return means


def evaluation(program: Program) -> jax.stages.Wrapped:
    """Returns ``evaluate`` as it is compiled."""
    return _compiled(_evaluate, program.platform)


def _evaluate(program: Program, measured: Pair, test: TestSet) -> Means:
    def on_device(measured: Pair, test: TestSet) -> Means:
        def run(measured: Pair) -> Means:
            split = jax.tree.map(lambda values: values.reshape(*program.test, *values.shape[1:]), test)
            sums_of = functools.partial(_sums_of_part, program, measured)
            zeros = jax.tree.map(lambda sum_: jnp.zeros(sum_.shape, sum_.dtype), jax.eval_shape(sums_of, _first(split)))
            sums = lax.scan(lambda sums, part: (jax.tree.map(jnp.add, sums, sums_of(part)), None), zeros, split)[0]
            total, means = program.total(sums)
            return {name: value / total for name, value in means.items()}

        return _each_run(program, run)(measured)

    return program.on_mesh(on_device, program.of_run, program.of_test)(measured, test)


def _first(split: Tree) -> Tree:
    return jax.tree.map(lambda values: values[0], split)


def _sums_of_part(program: Program, measured: Pair, part: TestSet) -> tuple[jax.Array, Means]:
    """Returns the sum of the weights of a part of the test set, and those of the loss and the metrics."""
    inputs, targets, weights = part
    outputs = program.rules.outputs(measured, inputs)
    each = {"loss": program.rules.workload.loss(outputs, targets), **program.rules.workload.metrics(outputs, targets)}
    return jnp.sum(weights), {name: jnp.sum(weights * values) for name, values in each.items()}


def counted(network: Network, workload: Workload, inputs: Leaves, targets: Leaves) -> frozenset[str]:
    """Returns the names of the metrics that are true or false for an example; computes nothing."""

    def metrics(raw: Tree, targets: Tree) -> Mapping[str, jax.Array]:
        given = workload.inputs(raw)
        outputs, _ = network.apply(*network.init(jax.random.PRNGKey(0), given), given)
        return workload.metrics(outputs, targets)

    found = jax.eval_shape(metrics, *(each.map(jax.ShapeDtypeStruct) for each in (inputs, targets)))
    return frozenset(name for name, values in found.items() if values.dtype == jnp.bool_)


class Traced(NamedTuple):
    """What is known of a network's training step before anything is computed."""

    params: Params
    """The shapes and types of its parameters."""
    network: Tree
    """Those of its other state."""
    draws: bool
    """Whether it draws random numbers when it is trained."""
    gradients: Any
    """The program of its gradients, a ``jaxpr``."""
    outputs: Any
    """The program of its outputs, likewise."""


def traced(network: Network, workload: Workload, inputs: Leaves) -> Traced:
    """Traces the gradients of a network for a batch; computes nothing."""
    batch = inputs.map(jax.ShapeDtypeStruct)
    params, state = jax.eval_shape(lambda raw: network.init(jax.random.PRNGKey(0), workload.inputs(raw)), batch)

    def outputs(params: Params, state: Tree, raw: Tree, key: jax.Array | None) -> Any:
        return network.apply(params, state, workload.inputs(raw), train=True, key=key)[0]

    def total(*arguments: Any) -> jax.Array:
        leaves = jax.tree.leaves(outputs(*arguments))
        return sum((jnp.sum(jnp.asarray(leaf, jnp.float32)) for leaf in leaves), jnp.float32(0))

    def programs(key: jax.Array | None) -> list[Any]:
        # Inside of a step there is this axis, over which a network may average.
        traces = (jax.make_jaxpr(each, axis_env=[(AXIS, 1)]) for each in (jax.grad(total), outputs))
        return [trace(params, state, batch, key) for trace in traces]

    try:
        return Traced(params, state, False, *programs(None))
    except NeedsKeyError:
        return Traced(params, state, True, *programs(jax.random.PRNGKey(0)))
