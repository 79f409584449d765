"""What a loaded data set is: arrays in memory, or, for its training examples, a stream from the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar


@dataclass(frozen=True, eq=False)
class Split:
    """The examples of one split, in file order.

    Attributes:
      inputs: an array or a tree of arrays whose first axis is the example, such as images ``uint8[N, H, W, C]`` with
        values 0 to 255, tokens ``int32[N, T]`` or features ``float32[N, F]``.
      targets: the same for what is to be predicted, such as labels ``int32[N]``.
    """

    inputs: Any
    targets: Any

    def __len__(self) -> int:
        return len(leaves_of(self.targets)[0])

    def part(self, which: NDArray[np.intp]) -> Split:
        """Returns those of the examples."""
        inputs, targets = (map_leaves(lambda leaf: leaf[which], each) for each in (self.inputs, self.targets))
        return Split(inputs, targets)

    def parts(self) -> Iterator[tuple[Any, Any]]:
        """Yields inputs and targets of all examples; there may be several such parts where they are not in memory."""
        yield self.inputs, self.targets

    def digest(self) -> str:
        """Returns `digest_of` the examples."""
        return digest_of(self.parts())


Train = TypeVar("Train", default=Split)


def drawn(total: int, count: int, seed: int) -> NDArray[np.intp]:
    """Returns the indices of some of ``total`` examples, in file order, drawn uniformly without replacement.

    Which ones is a pure function of the three numbers, on every platform and with every version of NumPy; with one
    seed, those of a smaller count are among those of a larger one.
    """
    # NumPy keeps the raw bits of a generator the same for ever, but not what permutation() makes of them.
    return np.sort(np.argsort(np.random.PCG64(seed).random_raw(total), kind="stable")[:count])


@dataclass(frozen=True, eq=False)
class Dataset(Generic[Train]):
    """The examples of a workload: ``train`` to learn from, ``test`` to measure with.

    Attributes:
      name: the name in tensorflow-datasets, with the config if there is one (``fashion_mnist``, ``name/config``); of
        other data, the name of the workload.
      version: the version of the data, as ``1.0.0``.
      train: the training examples; a `lrtrain.data.stream.Stream` where they stay on the disk.
      test: the examples of the split ``test``, or of ``validation`` where there is no ``test``.
      num_classes: how many classes there are, whether or not all occur; None where the targets are no classes.
      class_names: a name for each class, in the order of the labels.
      digests: `digest_of` the whole ``train`` and ``test``; a subset keeps those of the data set that it is part of.
      validation: the examples to measure with while the training set is not looked at; None to hold some out.
    """

    name: str
    version: str
    train: Train
    test: Split
    num_classes: int | None = None
    class_names: tuple[str, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    validation: Split | None = None

    def identity(self) -> dict[str, Any]:
        """Returns what distinguishes the data from other data, as a run notes it."""
        return {"name": self.name, "version": self.version, "classes": self.num_classes, **self.digests}


def leaves_of(tree: Any) -> list[Any]:
    """Returns the arrays of a tree, in JAX's order; a single array takes no JAX."""
    if isinstance(tree, np.ndarray):
        return [tree]
    import jax

    return jax.tree.leaves(tree)


def map_leaves(function: Callable[..., Any], tree: Any) -> Any:
    """Returns a tree with the result of the function for each of its arrays."""
    if isinstance(tree, np.ndarray):
        return function(tree)
    import jax

    return jax.tree.map(function, tree)


def shape_of(tree: Any, first: str = "batch") -> str:
    """Returns the types and shapes of a tree of arrays in words, such as ``uint8[batch, 28, 28, 1]``."""

    def text(leaf: Any) -> str:
        return f"{leaf.dtype}[{', '.join([first, *map(str, leaf.shape[1:])])}]"

    if len(leaves_of(tree)) == 1 and hasattr(tree, "dtype"):
        return text(tree)
    return str(map_leaves(text, tree)).replace("'", "")


def digest_of(parts: Iterable[tuple[Any, Any]]) -> str:
    """Returns the SHA-256 of the examples of a split, in file order, however they are cut into parts.

    A part has inputs and targets, as a `Split`.
    """
    totals: list[Any] = []
    layout = b""
    for inputs, targets in parts:
        leaves = [*leaves_of(inputs), *map(_little_endian, leaves_of(targets))]
        totals = totals or [hashlib.sha256() for _ in leaves]
        layout = _layout(inputs, targets)
        for total, leaf in zip(totals, leaves, strict=True):
            total.update(np.ascontiguousarray(leaf).data)
    return hashlib.sha256(b"".join([layout, *(total.digest() for total in totals)])).hexdigest()


def _little_endian(leaf: NDArray[Any]) -> NDArray[Any]:
    return leaf.astype("<i4") if np.issubdtype(leaf.dtype, np.integer) else leaf


def _layout(inputs: Any, targets: Any) -> bytes:
    """Returns what the bytes of the arrays do not tell; of images with classes, their shape alone, as ever."""
    shapes = tuple(map_leaves(lambda leaf: (leaf.dtype.str, leaf.shape[1:]), each) for each in (inputs, targets))
    if shapes[1] == ("<i4", ()) and getattr(inputs, "dtype", None) == np.uint8:
        return str(inputs.shape[1:]).encode()
    return str(shapes).encode()
