"""Data at a path: a file of arrays (`lrtrain.data.npz`) or a folder.

A folder is one of images by class (`lrtrain.data.folder`), or one that the package ``datasets`` has saved
(`lrtrain.data.saved`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from lrtrain.data import disk, folder, npz, saved
from lrtrain.data.arrays import cached
from lrtrain.data.source import InMemory
from lrtrain.data.types import Dataset
from lrtrain.errors import DataError

_EXPECTED = "expected a .npz file of arrays, or a folder of images by class"


def find_path(path: Path) -> InMemory:
    """Returns the examples at a path; those of a folder are read when they are first used.

    Raises:
      DataError: there is nothing at the path, or what is there is no data set, as far as it shows without decoding.
    """
    path = path.expanduser().absolute()
    if path.is_dir():
        if saved.is_saved(path):
            return _Folder(path, saved.read_saved)
        folder.find_images(path)
        return _Folder(path, folder.read_images)
    if path.suffix.lower() == ".npz":
        return InMemory(npz.read_dataset(path))
    raise DataError(f"{path} {'is another file' if path.exists() else 'is not there'}: {_EXPECTED}")


class _Folder(InMemory):
    """The examples in a folder, whose arrays are kept in the cache directory until a file in it changes."""

    def __init__(self, path: Path, read: Callable[[Path], Dataset]) -> None:
        self.name, self.key = path.name, f"{read.__module__} {path}"
        self._path, self._read = path, read

    @cached_property
    def dataset(self) -> Dataset:  # type: ignore[override]  # read when it is first used
        """The data set."""
        return cached(self.name, self.key, self._read_now)

    def _read_now(self) -> tuple[dict[str, object], Dataset]:
        try:
            # Taken before reading: a file that is replaced meanwhile must not pass for the one that was read.
            source = disk.fingerprint(self._path)
        except OSError as error:
            raise DataError(f"{self._path} cannot be read: {error.strerror or error}") from error
        return source, self._read(self._path)
