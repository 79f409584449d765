"""Whether arrays that a user gives are examples; those that are taken have one form, whatever they were made with.

Numbers have the types that JAX computes with: float64 becomes float32, int64 becomes int32. Grey images
``uint8[N, H, W]`` get an axis of channels, and labels ``[N, 1]`` lose their second axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrain.data.types import Dataset, Split
from lrtrain.errors import DataError

_AS_JAX_HAS_THEM = {"f16": "f4", "f8": "f4", "i8": "i4", "u8": "u4"}


@dataclass(frozen=True, eq=False)
class Given:
    """The arrays of a split as they were given: ``[N, ...]`` each.

    Args:
      inputs: the inputs, of any shape.
      targets: whole numbers ``[N]`` or ``[N, 1]`` are labels, from 0; others are what is to be predicted.
      names: what messages call the two.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    names: tuple[str, str]


def dataset_of(name: str, given: Mapping[str, Given], class_names: Sequence[str] = ()) -> Dataset:
    """Returns the data set of the splits ``train``, ``test`` and perhaps ``validation``.

    Args:
      name: the name of the data set.
      given: the arrays of each split.
      class_names: a name for each class; without them, the highest training label says how many there are.

    Raises:
      DataError: an array is empty, holds no numbers or none that are finite; inputs and targets have unequal lengths;
        a split has other shapes or types than the training examples; or a label is none of the classes.
    """
    splits = {part: _split(each) for part, each in given.items()}
    for part, split in splits.items():
        for index, kind in enumerate(("inputs", "targets")):
            _check_alike(getattr(split, kind), getattr(splits["train"], kind), given[part], given["train"], index)
    classes = _num_classes(given, splits, len(class_names))
    digests = {part: split.digest() for part, split in splits.items()}
    validation = splits.get("validation")
    return Dataset(name, "", splits["train"], splits["test"], classes, tuple(class_names), digests, validation)


def with_channels(images: NDArray[Any]) -> NDArray[Any]:
    """Returns grey images ``uint8[N, H, W]`` as ``uint8[N, H, W, 1]``, and any other array as it is."""
    return images[..., None] if images.dtype == np.uint8 and images.ndim == 3 else images


def _split(given: Given) -> Split:
    inputs, targets = (_numbers(name, array) for name, array in zip(given.names, _arrays(given), strict=True))
    if len(inputs) != len(targets):
        raise DataError(
            f"{given.names[0]} has {len(inputs)} examples and {given.names[1]} has {len(targets)}: expected as many"
        )
    return Split(with_channels(inputs), _labels(given.names[1], targets) if _has_labels(targets) else targets)


def _arrays(given: Given) -> tuple[NDArray[Any], NDArray[Any]]:
    return given.inputs, given.targets


def _numbers(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Returns an array of finite numbers as JAX has them."""
    if array.dtype.kind not in "biuf":
        said = "Python objects" if array.dtype.kind == "O" else f"type {array.dtype}"
        raise DataError(f"{name} is an array of {said}: expected numbers")
    if not array.ndim or not array.size:
        raise DataError(f"{name} has the shape {list(array.shape)}, so there are no examples: expected [examples, ...]")
    kind = array.dtype.str[1:]
    # A number that float32 does not hold becomes infinite, and is refused as such.
    with np.errstate(over="ignore"):
        numbers = array.astype(_AS_JAX_HAS_THEM.get(kind, kind), copy=False)
    valid = np.isfinite(numbers) if array.dtype.kind == "f" else np.asarray(numbers is array or numbers == array)
    if not valid.all():
        place = tuple(int(axis[0]) for axis in np.nonzero(~valid))
        raise DataError(
            f"{name} holds {array[place]} at {list(place)}: expected finite numbers that {numbers.dtype} can hold"
        )
    return numbers


def _has_labels(targets: NDArray[Any]) -> bool:
    return targets.dtype.kind in "biu" and targets.shape[1:] in ((), (1,))


def _labels(name: str, targets: NDArray[Any]) -> NDArray[np.int32]:
    labels: NDArray[np.int32] = targets.reshape(-1).astype(np.int32)
    if (lowest := int(labels.min())) < 0:
        raise DataError(
            f"{name} has the label {lowest}: labels are whole numbers from 0, and targets of a regression are floats"
        )
    return labels


def _check_alike(array: NDArray[Any], other: NDArray[Any], given: Given, train: Given, index: int) -> None:
    if (array.shape[1:], array.dtype) != (other.shape[1:], other.dtype):
        shapes = [f"{each.dtype}{['N', *each.shape[1:]]}".replace("'", "") for each in (array, other)]
        raise DataError(
            f"{given.names[index]} is {shapes[0]} and {train.names[index]} is {shapes[1]}: expected one shape and type"
        )


def _num_classes(given: Mapping[str, Given], splits: Mapping[str, Split], named: int) -> int | None:
    """Returns the number of classes; None where the targets are no labels."""
    train, name = splits["train"], given["train"].names[1]
    if not _has_labels(given["train"].targets):
        return None
    highest = int(train.targets.max())
    if highest >= max(len(train), named):
        raise DataError(
            f"{name} has the label {highest} and {len(train)} examples: expected classes that are numbered from 0, "
            "and targets of a regression as floats"
        )
    classes = named or highest + 1
    for part, split in splits.items():
        if (label := int(split.targets.max())) >= classes:
            raise DataError(
                f"{given[part].names[1]} has the label {label}, and the training examples have labels from 0 to "
                f"{classes - 1}"
            )
    return classes
