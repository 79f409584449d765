"""What a loaded data set is: arrays in memory, or, for its training examples, a stream from the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar


@dataclass(frozen=True, eq=False)
class Split:
    """The examples of one split, in file order.

    Attributes:
      images: ``uint8[N, H, W, C]``, values 0 to 255.
      labels: ``int32[N]``, values 0 to ``num_classes - 1``.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, which: NDArray[np.intp]) -> Split:
        """Returns those of the examples."""
        return Split(self.images[which], self.labels[which])

    def digest(self) -> str:
        """Returns `digest_of` the examples."""
        return digest_of([(self.images, self.labels)])


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
    """An image-classification data set: ``train`` to learn from, ``test`` to measure with.

    Attributes:
      name: the name in tensorflow-datasets, with the config if there is one (``fashion_mnist``, ``name/config``).
      version: the version of the data, as ``1.0.0``.
      train: the training examples; a `lrtrain.data.stream.Stream` where they stay on the disk.
      test: the examples of the split ``test``, or of ``validation`` where there is no ``test``.
      num_classes: how many classes there are, whether or not all occur.
      class_names: a name for each class, in the order of the labels.
      digests: `digest_of` the whole ``train`` and ``test``; a subset keeps those of the data set that it is part of.
    """

    name: str
    version: str
    train: Train
    test: Split
    num_classes: int
    class_names: tuple[str, ...]
    digests: Mapping[str, str]

    def identity(self) -> dict[str, Any]:
        """Returns what distinguishes the data from other data, as a run notes it."""
        return {"name": self.name, "version": self.version, "classes": self.num_classes, **self.digests}


def digest_of(parts: Iterable[tuple[NDArray[np.uint8], NDArray[np.int32]]]) -> str:
    """Returns the SHA-256 of the examples of a split, in file order, however they are cut into parts.

    A part has images ``uint8[n, H, W, C]`` and labels ``int32[n]``.
    """
    images, labels, shape = hashlib.sha256(), hashlib.sha256(), b""
    for some_images, some_labels in parts:
        shape = str(some_images.shape[1:]).encode()
        images.update(np.ascontiguousarray(some_images).data)
        labels.update(np.ascontiguousarray(some_labels.astype("<i4")).data)
    return hashlib.sha256(shape + images.digest() + labels.digest()).hexdigest()
