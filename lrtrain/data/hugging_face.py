"""Data sets of the package ``datasets`` of Hugging Face, as arrays.

One column is the inputs: images, or arrays or numbers of one shape. One is the targets: a ``ClassLabel``, or numbers.
Of more columns than two, the only ``Image`` and the only ``ClassLabel`` are taken.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrain.data.examined import Given, dataset_of
from lrtrain.data.pictures import Opened, channels_of, pixels_of
from lrtrain.data.types import Dataset
from lrtrain.errors import DataError, cause


def is_hugging_face(given: Any) -> bool:
    """Returns whether this is a data set of the package ``datasets``, without importing it."""
    return type(given).__module__.partition(".")[0] == "datasets" and hasattr(given, "select_columns")


def from_hugging_face(name: str, splits: Mapping[str, Any], where: str = "") -> Dataset:
    """Returns the data set of some splits, ``train`` and ``test`` among them.

    Args:
      name: the name of the data set.
      splits: a ``datasets.Dataset`` for each split.
      where: what messages add to the name of a column.

    Raises:
      DataError: the columns are not one of inputs and one of targets, or hold no examples.
    """
    columns = _columns(splits["train"], where)
    for part, split in splits.items():
        _check_columns(part, split, splits["train"], columns, where)
    inputs, targets = (_arrays(splits, column, where) for column in columns)
    given = {
        part: Given(inputs[part], targets[part], (_title(columns[0], part, where), _title(columns[1], part, where)))
        for part in splits
    }
    return dataset_of(name, given, getattr(splits["train"].features[columns[1]], "names", None) or ())


def _columns(train: Any, where: str) -> tuple[str, str]:
    """Returns the names of the columns of inputs and of targets."""
    columns = list(train.features or {})
    labels = [name for name in columns if hasattr(train.features[name], "names")]
    images = [name for name in columns if _is_image(train.features[name])]
    if len(columns) == 2:
        return (columns[1], columns[0]) if labels == columns[:1] else (columns[0], columns[1])
    if len(images) == len(labels) == 1:
        return images[0], labels[0]
    raise DataError(
        f"the training examples{where} have the columns {', '.join(columns) or 'of no known names'}: choose the inputs "
        "and the targets with select_columns(['INPUTS', 'TARGETS'])"
    )


def _is_image(feature: Any) -> bool:
    return type(feature).__name__ == "Image"


def _check_columns(part: str, split: Any, train: Any, columns: tuple[str, str], where: str) -> None:
    for column in columns:
        wanted, found = train.features[column], (getattr(split, "features", None) or {}).get(column)
        if found != wanted:
            raise DataError(f"the column '{column}' of {part}{where} is {found}, and that of train {wanted}")
    if not (hasattr(split, "__len__") and len(split)):
        raise DataError(f"the {part} examples{where} are none, or a stream of unknown length: give some in memory")


def _title(column: str, part: str, where: str) -> str:
    return f"the column '{column}' of {part}{where}"


def _arrays(splits: Mapping[str, Any], column: str, where: str) -> dict[str, NDArray[Any]]:
    """Returns a column of each split as an array of the type that it is stored in."""
    feature = splits["train"].features[column]
    with _decoding(f"the column '{column}'{where}"):
        if not _is_image(feature):
            # The package makes int64 and float32 of all numbers.
            kind = _type_of(feature)
            return {part: np.asarray(split.with_format("numpy")[:][column], kind) for part, split in splits.items()}
        images = {part: _images(split, column, _title(column, part, where)) for part, split in splits.items()}
        form = channels_of(each for opened in images.values() for each in opened)
        return {part: pixels_of(opened, *form) for part, opened in images.items()}


@contextlib.contextmanager
def _decoding(title: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    # The package has many libraries that decode.
    except Exception as error:
        raise DataError(f"{title} cannot be made an array ({cause(error)}): expected one shape and type") from error


def _images(split: Any, column: str, title: str) -> list[Opened]:
    plain = split.with_format(None)

    def opened(index: int) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext(plain[index][column])

    return [(f"image {index} in {title}", functools.partial(opened, index)) for index in range(len(plain))]


def _type_of(feature: Any) -> Any:
    """Returns the type of the numbers in a column: of a list of lists of numbers, that of the innermost ones."""
    while hasattr(feature, "feature"):
        feature = feature.feature
    return getattr(feature, "dtype", None)
