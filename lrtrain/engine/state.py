"""What a training step changes, and what it and the evaluation are given: trees of arrays, and their shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax
import optax

if TYPE_CHECKING:
    from collections.abc import Callable

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
Means: TypeAlias = "dict[str, jax.Array]"
"""The mean loss, ``"loss"``, and the means of the metrics, float32[] each."""


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
