"""Data sets that the package ``datasets`` of Hugging Face has saved in a folder."""

from __future__ import annotations

import importlib
from pathlib import Path

from lrtrain.data.hugging_face import from_hugging_face
from lrtrain.data.types import Dataset
from lrtrain.errors import DataError, cause

_SAVED = "dataset_dict.json"
_SPLITS = ("train", "test", "validation")


def is_saved(folder: Path) -> bool:
    """Returns whether a folder is one that ``DatasetDict.save_to_disk`` has written."""
    return (folder / _SAVED).is_file()


def read_saved(folder: Path) -> Dataset:
    """Returns the data set that ``DatasetDict.save_to_disk`` has written; raises DataError when it cannot be read."""
    try:
        package = importlib.import_module("datasets")
    except ImportError as error:
        raise DataError(f"{folder} is a data set of the package datasets: run `pip install datasets`") from error
    try:
        splits = dict(package.load_from_disk(str(folder)))
    # Which of its libraries fails depends on the file that is damaged.
    except Exception as error:
        raise DataError(f"the data set in {folder} cannot be read ({cause(error)}): save it again") from error
    for name in ("train", "test"):
        if name not in splits:
            raise DataError(f"the data set in {folder} has the splits {', '.join(splits)}, and no '{name}': rename one")
    return from_hugging_face(folder.name, {name: splits[name] for name in _SPLITS if name in splits}, f" in {folder}")
