"""A network as pure functions of its arrays: a Flax Linen module, or one of ``flax.nnx``.

Its arrays are in two trees: the parameters, which the optimizer changes, and the other state, such as the running
averages of batch normalisation, which the network itself changes when it is trained.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import InvalidRngError

if TYPE_CHECKING:
    from flax import nnx

Tree: TypeAlias = Any
"""A tree of arrays: nested dictionaries, by the names that the network gives."""

# The arguments that tell a network whether it is trained: true for these, false for those.
_TRAINED = ("train", "training", "is_training")
_EVALUATED = ("deterministic", "use_running_average")
# What a Linen module notes for whoever looks into it, and needs not for its next step.
_NOTES = ("intermediates", "perturbations")


class NeedsKeyError(Exception):
    """A network draws random numbers, and was given no key."""


@dataclass(frozen=True)
class Linen:
    """A network that is a Flax Linen module."""

    module: nn.Module
    maker = None
    """What distinguishes networks that are equal but for their first parameters: nothing."""

    @property
    def name(self) -> str:
        """The name of its class."""
        return type(self.module).__name__

    def init(self, key: jax.Array, inputs: Tree) -> tuple[Tree, Tree]:
        """Returns fresh parameters and state for inputs of such shapes and types."""
        variables = dict(self.module.init(key, inputs, **_mode(self.module, train=False)))
        params = variables.pop("params", {})
        return params, {name: value for name, value in variables.items() if name not in _NOTES} or ()

    def apply(
        self, params: Tree, state: Tree, inputs: Tree, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, Tree]:
        """Returns the outputs for a batch and the state after it.

        ``key`` is that of all random streams: each module, and each of its draws, derives its own from it. Raises
        NeedsKeyError when there is none, and random numbers are drawn.
        """
        variables = {"params": params, **dict(state)}
        # A module that asks for a stream which is not there is given the one of this name.
        rngs = None if key is None else {"params": key}
        flags = _mode(self.module, train=train)
        try:
            if not (train and state):
                return self.module.apply(variables, inputs, rngs=rngs, **flags), state
            outputs, changed = self.module.apply(variables, inputs, rngs=rngs, mutable=list(state), **flags)
        except InvalidRngError as error:
            raise NeedsKeyError from error
        return outputs, {**state, **changed}

    def with_arrays(self, params: Tree, state: Tree) -> nn.Module:
        """Returns the module, bound to its arrays."""
        return self.module.bind({"params": params, **dict(state)})


@dataclass(frozen=True)
class Nnx:
    """A network that is a module of ``flax.nnx``.

    ``make`` returns the module, from its random numbers; ``graphs`` are its structures when it is evaluated and when it
    is trained; the rest are the layouts of its parameters, its random streams and its other state. Networks of equal
    structure are equal.
    """

    make: Callable[[nnx.Rngs], nnx.Module] = field(compare=False)
    name: str
    graphs: tuple[Any, Any]
    params: _Layout
    streams: _Layout
    state: _Layout

    @property
    def maker(self) -> Callable[[nnx.Rngs], nnx.Module]:
        """What distinguishes networks that are equal but for their first parameters."""
        return self.make

    @classmethod
    def of(cls, make: Callable[[nnx.Rngs], nnx.Module]) -> Nnx:
        """Makes the module without its arrays, to learn its structure."""
        from flax import nnx

        module = nnx.eval_shape(lambda: _made(make))
        graphs = []
        for train in (False, True):
            mode: Callable[[], None] = module.train if train else module.eval
            mode()
            graph, *states = _split(module)
            graphs.append(graph)
        return cls(make, type(module).__name__, (graphs[0], graphs[1]), *map(_Layout.of, states))

    def init(self, key: jax.Array, inputs: Tree) -> tuple[Tree, Tree]:  # noqa: ARG002  # as `Linen.init`
        """Returns fresh parameters and state; an nnx module knows the shapes of its inputs."""
        from flax import nnx

        _, params, _, state = _split(self.make(nnx.Rngs(jax.random.wrap_key_data(key))))
        return self.params.named(params), self.state.named(state) or ()

    def apply(
        self, params: Tree, state: Tree, inputs: Tree, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, Tree]:
        """Returns the outputs for a batch and the state after it; see `Linen.apply`."""
        from flax import nnx

        streams = self._streams(jnp.zeros(2, jnp.uint32) if key is None else key)
        module = self._merged(params, state, streams, train=train)
        outputs = module(inputs, **_mode(module, train=train))
        nnx.pop(module, nnx.Intermediate)
        _, _, after, changed = _split(module)
        if key is None and any(a is not b for a, b in zip(jax.tree.leaves(after), streams, strict=True)):
            raise NeedsKeyError
        return outputs, self.state.named(changed) if train and state else state

    def with_arrays(self, params: Tree, state: Tree) -> Any:
        """Returns a module with these arrays, which evaluates."""
        params, state = jax.tree.map(jnp.asarray, (params, state))
        return self._merged(params, state, self._streams(jnp.zeros(2, jnp.uint32)), train=False)

    def _merged(self, params: Tree, state: Tree, streams: list[jax.Array], *, train: bool) -> Any:
        drawn = self.streams.tree.unflatten(streams)
        from flax import nnx

        return nnx.merge(self.graphs[train], self.params.unnamed(params), drawn, self.state.unnamed(state))

    def _streams(self, key: jax.Array) -> list[jax.Array]:
        """Returns the keys and counts of all random streams: a key of its own for each, and counts of 0."""

        def of(index: int, leaf: Any) -> jax.Array:
            if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                return jnp.zeros(leaf.shape, leaf.dtype)
            own = jax.random.wrap_key_data(jax.random.fold_in(key, index))
            return jax.random.split(own, leaf.shape) if leaf.shape else own

        return [of(index, leaf) for index, leaf in enumerate(self.streams.leaves)]


Network: TypeAlias = Linen | Nnx


@dataclass(frozen=True)
class _Layout:
    """The structure of a state of nnx; its arrays have names, ``("layers", "0", "kernel")``, and shapes and types."""

    tree: Any
    paths: tuple[tuple[str, ...], ...]
    leaves: tuple[Any, ...] = field(compare=False)

    @classmethod
    def of(cls, state: Any) -> _Layout:
        found, tree = jax.tree_util.tree_flatten_with_path(state)
        # The last part of a path is the value in its variable.
        paths = tuple(tuple(str(part.key) for part in path[:-1]) for path, _ in found)
        return cls(tree, paths, tuple(leaf for _, leaf in found))

    def named(self, state: Any) -> dict[str, Any]:
        """Returns the arrays of a state in nested dictionaries."""
        names: dict[str, Any] = {}
        for path, leaf in zip(self.paths, jax.tree.leaves(state), strict=True):
            functools.reduce(lambda inner, part: inner.setdefault(part, {}), path[:-1], names)[path[-1]] = leaf
        return names

    def unnamed(self, names: Tree) -> Any:
        """Returns the state that `named` was given."""
        return self.tree.unflatten(
            [functools.reduce(lambda inner, part: inner[part], path, names) for path in self.paths]
        )


def network_of(model: Any) -> Network:
    """Returns the network of a Linen module, an nnx module, or a function of ``flax.nnx.Rngs`` that returns one.

    An nnx module has its first parameters with it, whatever the seed. Raises TypeError for anything else.
    """
    if isinstance(model, Linen | Nnx):
        return model
    if isinstance(model, nn.Module):
        return Linen(_hashable(model))
    # It takes a while to import.
    from flax import nnx

    if isinstance(model, nnx.Module):
        return Nnx.of(lambda rngs: nnx.clone(model))  # noqa: ARG005  # its numbers have been drawn
    if isinstance(model, type) and issubclass(model, nnx.Module):
        make: Any = model
        return Nnx.of(lambda rngs: make(rngs=rngs))
    if inspect.isroutine(model) or isinstance(model, functools.partial):
        return Nnx.of(model)
    what = (
        f"the class {model.__name__}"
        if isinstance(model, type)
        else f"a {type(model).__module__}.{type(model).__name__}"
    )
    raise TypeError(
        f"{what} is no Flax module: expected one of flax.linen or flax.nnx, or a function of flax.nnx.Rngs that "
        "returns one of flax.nnx"
    )


def _made(make: Callable[[nnx.Rngs], nnx.Module]) -> nnx.Module:
    from flax import nnx

    module: object = make(nnx.Rngs(0))
    if not isinstance(module, nnx.Module):
        raise TypeError(f"it returns a {type(module).__name__}, and no module of flax.nnx")
    return module


def _hashable(module: nn.Module) -> nn.Module:
    """Returns a module with tuples for lists, as of ``nn.Sequential([...])``: what is compiled is found by its hash."""
    fields = {each.name: getattr(module, each.name) for each in dataclasses.fields(module) if each.init}
    lists: Any = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    found = module.clone(**lists) if lists else module
    try:
        hash(found)
    except TypeError as error:
        raise TypeError(
            f"a field of {type(module).__name__} cannot be hashed ({error}): give a tuple for it"
        ) from error
    return found


def _split(module: nnx.Module) -> Any:
    from flax import nnx

    return nnx.split(module, nnx.Param, nnx.RngState, ...)


def _mode(module: Any, *, train: bool) -> dict[str, Any]:
    """Returns the arguments that tell a module whether it is trained."""
    known = inspect.signature(type(module).__call__).parameters
    values = {**dict.fromkeys(_TRAINED, train), **dict.fromkeys(_EVALUATED, not train)}
    return {name: value for name, value in values.items() if name in known}
