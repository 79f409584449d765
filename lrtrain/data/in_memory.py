"""Examples that are given in Python: pairs of arrays, or data sets of the package ``datasets`` of Hugging Face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrtrain.data.hugging_face import from_hugging_face, is_hugging_face
from lrtrain.data.types import Dataset, Split
from lrtrain.errors import DataError


def dataset_in_memory(given: Mapping[str, Any]) -> Dataset:
    """Returns the data set of what is given for ``train``, ``test`` and ``validation``, without a name.

    Args:
      given: for each split ``(inputs, targets)`` or a ``datasets.Dataset``; None for no validation examples.

    Raises:
      DataError: not all are of one kind, or a ``datasets.Dataset`` holds no inputs and targets.
    """
    splits = {part: split for part, split in given.items() if split is not None}
    if any(map(is_hugging_face, splits.values())):
        for part, split in splits.items():
            if not is_hugging_face(split):
                raise DataError(
                    f"{part} is {type(split).__name__}, and others are datasets.Dataset: give all as one kind"
                )
        return from_hugging_face("", splits)
    arrays = {part: Split(*split) for part, split in splits.items()}
    return Dataset("", "", arrays["train"], arrays["test"], validation=arrays.get("validation"))
