"""The shapes of the examples of a run, which ``config.json`` keeps: enough to make its network without its data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrain.data.types import Dataset, Split, shape_of

if TYPE_CHECKING:
    from lrtrain.data.stream import StreamedDataset

_ARRAY = re.compile(r"(?P<dtype>[a-z]+\d+(?:_\w+)?|bool)\[examples(?P<shape>(?:, \d+)*)\]", re.ASCII)


def shapes_of(data: Dataset | StreamedDataset) -> dict[str, Any] | None:
    """Returns types and shapes of the examples, such as ``uint8[examples, 28, 28, 1]``; those of a tree by its names.

    Returns None for a tree of something else than dictionaries with texts as keys.
    """
    try:
        return {"inputs": _texts(data.test.inputs), "targets": _texts(data.test.targets)}
    except TypeError:
        return None


def blank_data(shapes: Mapping[str, Any], config: Mapping[str, Any]) -> Dataset | None:
    """Returns a data set of blank examples of such shapes, which take no memory; None if they cannot be read.

    ``config`` is what distinguishes the data, as a run notes it: its name, its version and the number of classes.
    """
    try:
        split = Split(_blank(shapes["inputs"]), _blank(shapes["targets"]))
        return Dataset(config["name"], config["version"], split, split, config.get("classes"))
    except (KeyError, TypeError, ValueError):
        return None


def _texts(tree: Any) -> Any:
    if isinstance(tree, dict) and all(isinstance(name, str) for name in tree):
        return {name: _texts(each) for name, each in tree.items()}
    if not hasattr(tree, "dtype"):
        raise TypeError
    return shape_of(tree, "examples")


def _blank(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {name: _blank(each) for name, each in tree.items()}
    match = _ARRAY.fullmatch(tree)
    if match is None:
        raise ValueError(tree)
    shape = tuple(map(int, match["shape"].split(", ")[1:]))
    return np.broadcast_to(np.zeros((), match["dtype"]), (1, *shape))
