"""A data set in one file of NumPy, ``numpy.savez("flowers.npz", x_train=..., y_train=..., x_test=..., y_test=...)``.

The names are those of Keras' files. ``x_val`` and ``y_val`` are validation examples, and may be left out.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrain.data.examined import Given, dataset_of
from lrtrain.data.types import Dataset
from lrtrain.errors import DataError, nearest

_PARTS = {"train": "train", "test": "test", "val": "validation"}
_NAMES = tuple(f"{axis}_{part}" for part in _PARTS for axis in "xy")
_EXPECTED = "expected x_train, y_train, x_test and y_test, and x_val and y_val for validation examples"


def read_dataset(path: Path) -> Dataset:
    """Returns the data set in a file; its name is that of the file.

    Raises:
      DataError: the file cannot be read, an array is missing or is none of the six, or they are no examples, see
        `lrtrain.data.examined.dataset_of`.
    """
    arrays = read_arrays(path)
    needed = [name for name in _NAMES if not name.endswith("_val") or {"x_val", "y_val"} & set(arrays)]
    missing = [name for name in needed if name not in arrays]
    unknown = [name for name in arrays if name not in _NAMES]
    if missing or unknown:
        wrong = f"no {missing[0]}" if missing else f"{unknown[0]} is none of a data set{nearest(unknown[0], _NAMES)}"
        raise DataError(f"{path} has the arrays {', '.join(arrays)}, and {wrong}: {_EXPECTED}")
    return dataset_of(path.name, {_PARTS[part]: _given(path, arrays, part) for part in _PARTS if f"x_{part}" in arrays})


def _given(path: Path, arrays: dict[str, NDArray[Any]], part: str) -> Given:
    names = (f"x_{part}", f"y_{part}")
    return Given(arrays[names[0]], arrays[names[1]], (f"{names[0]} in {path}", f"{names[1]} in {path}"))


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Returns the arrays of a file of NumPy, at least one, by their names; raises DataError when it cannot be read."""
    try:
        # NumPy leaves a damaged file open that it has opened itself.
        with path.open("rb") as file:
            # A file of another kind is an array, or an error.
            opened = np.load(file, allow_pickle=False)
            names = opened.files if isinstance(opened, np.lib.npyio.NpzFile) else ()
            if names:
                return {name: _array(path, opened, name) for name in names}
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is no .npz file of arrays, or it is damaged: numpy.savez writes one") from error
    raise DataError(f"{path} is no .npz file of arrays: numpy.savez writes one")


def _array(path: Path, opened: Any, name: str) -> NDArray[Any]:
    try:
        array: Any = opened[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise DataError(f"{name} in {path} is an array of Python objects: expected numbers") from error
    # Of a member of the archive that is none of NumPy's, its bytes.
    if not isinstance(array, np.ndarray):
        raise DataError(f"{name} in {path} is no array: numpy.savez writes some")
    return array
