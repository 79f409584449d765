"""What a loaded data set is: arrays in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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


@dataclass(frozen=True, eq=False)
class Dataset:
    """An image-classification data set: ``train`` to learn from, ``test`` to measure with.

    Attributes:
        name: the name in tensorflow-datasets, with the config if there is one (``fashion_mnist``, ``name/config``).
        version: the version of the data, as ``1.0.0``.
        train: the training examples.
        test: the examples of the split ``test``, or of ``validation`` where there is no ``test``.
        num_classes: how many classes there are, whether or not all occur.
        class_names: a name for each class, in the order of the labels.
    """

    name: str
    version: str
    train: Split
    test: Split
    num_classes: int
    class_names: tuple[str, ...]
