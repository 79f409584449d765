"""What is trained and how: the network, the workload's loss, the optimizer; and the state that training begins with."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax import lax

from lrtrain.engine.state import Leaves, Pair, Params, TrainState, Tree
from lrtrain.nn.network import Network
from lrtrain.nn.substitution import with_fast_operations
from lrtrain.workloads.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# What the key of the training derives from that of the first parameters.
_OF_TRAINING = 1


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
    replaces: bool = False
    """Whether operations of the network are replaced by such as are fast on CPU."""
    precision: str = "float32"
    """``"bf16"`` if the network computes in bfloat16; its parameters, and all that follows it, are float32 then too."""

    @property
    def augments(self) -> bool:
        """Whether the workload changes its training examples at random."""
        return type(self.workload).augment is not Workload.augment

    def outputs(self, measured: Pair, inputs: Tree) -> Any:
        """Returns the network's outputs for raw inputs, when it is evaluated."""
        return self._fast(self._outputs)(measured, inputs)

    def _outputs(self, measured: Pair, inputs: Tree) -> Any:
        return self._apply(*measured, self.workload.inputs(inputs))[0]

    def _fast(self, function: Callable[..., T]) -> Callable[..., T]:
        return with_fast_operations(function) if self.replaces else function

    def trained_outputs(self, params: Params, state: Tree, inputs: Tree, keys: Tree) -> tuple[Any, Tree]:
        """Returns the network's outputs for raw inputs when it is trained, and its state after it.

        ``keys`` are uint32[batch, 2], one for each example, if anything is drawn at random.
        """
        if self.augments:
            inputs = jax.vmap(self.workload.augment)(inputs, _derived(keys, 0))
        return self._fast(self._trained_outputs)(params, state, self.workload.inputs(inputs), keys)

    def _trained_outputs(self, params: Params, state: Tree, inputs: Tree, keys: Tree) -> tuple[Any, Tree]:
        if not self.draws:
            return self._apply(params, state, inputs, train=True)
        keys = _derived(keys, 1)
        if self.has_state:
            return self._apply(params, state, inputs, train=True, key=keys[0])

        # Each example has its own numbers, so the result is the same for any number of devices and micro-batches.
        def of_one(inputs: Tree, key: jax.Array) -> Any:
            alone = jax.tree.map(lambda leaf: leaf[None], inputs)
            outputs, _ = self._apply(params, state, alone, train=True, key=key)
            return jax.tree.map(lambda leaf: leaf[0], outputs)

        return jax.vmap(of_one)(inputs, keys), state

    def _apply(self, params: Params, state: Tree, inputs: Tree, **how: Any) -> tuple[Any, Tree]:
        """Returns the outputs and the state after them, as the network's ``apply`` does, in the given precision."""
        if self.precision != "bf16":
            return self.network.apply(params, state, inputs, **how)
        narrow = functools.partial(_converted, jnp.float32, jnp.bfloat16)
        outputs, after = self.network.apply(narrow(params), state, narrow(inputs), **how)
        after = jax.tree.map(lambda new, old: new.astype(old.dtype), after, state)
        return _converted(jnp.bfloat16, jnp.float32, outputs), after


def _converted(given: Any, wanted: Any, values: Tree) -> Tree:
    """Returns a tree whose arrays of one type are of another."""
    return jax.tree.map(lambda leaf: leaf.astype(wanted) if leaf.dtype == given else leaf, values)


def _derived(keys: jax.Array, number: int) -> jax.Array:
    """Returns other keys, uint32[batch, 2], for one of several uses."""
    return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


@functools.cache
def initializer(platform: str) -> jax.stages.Wrapped:
    """Returns the compiled ``(rules, maker, inputs, key, given) -> TrainState`` of a platform; see `_init`.

    Networks of equal structure are equal and may have other first parameters: their makers distinguish them.
    """
    # Random numbers take LLVM four seconds to optimise, for a function that runs once.
    options = {"xla_backend_optimization_level": 1} if platform == "cpu" else None
    return jax.jit(_init, static_argnums=(0, 1, 2), compiler_options=options)


def _init(rules: Rules, _: Any, inputs: Leaves, key: jax.Array, given: Pair | None = None) -> TrainState:
    """Returns the state at step 0, fresh or with ``given`` parameters and state; the inputs are of one example."""
    params, network = given or rules.network.init(key, rules.workload.inputs(inputs.map(jnp.zeros)))
    drawn = jax.random.fold_in(key, _OF_TRAINING) if rules.draws or rules.augments else ()
    # Not the same buffers, which a step uses up.
    average = () if rules.decay is None else jax.tree.map(jnp.copy, params)
    state = TrainState(params, rules.optimizer.init(params), jnp.int32(0), network, drawn, average)
    # A weakly typed leaf would come back from the first step with another type and compile it again.
    strong: TrainState = jax.tree.map(lambda leaf: lax.convert_element_type(leaf, jnp.asarray(leaf).dtype), state)
    return strong
