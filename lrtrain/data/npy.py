"""Files of one array (``.npy``): written part by part, and read or mapped after their digest has been checked."""

from __future__ import annotations

import hashlib
import io
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lrtrain.errors import DataError


class NpyWriter:
    """Writes an array of ``length`` items, some at a time; use it with ``with``.

    Attributes:
      digest: the SHA-256 of what has been written.
    """

    def __init__(self, path: Path, length: int) -> None:
        self._file, self._length = path.open("wb"), length
        self.digest = hashlib.sha256()

    def __enter__(self) -> NpyWriter:
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()

    def write(self, items: NDArray[Any]) -> None:
        """Writes the next items; their type and shape are those of the first ones."""
        if not self._file.tell():
            self._write(_header(items, self._length))
        # A memory view of an array in Fortran's order has its bytes in another order than the header says.
        self._write(np.ascontiguousarray(items).data)

    def _write(self, content: bytes | memoryview) -> None:
        self._file.write(content)
        self.digest.update(content)


def _header(items: NDArray[Any], length: int) -> bytes:
    header = io.BytesIO()
    fields = {"descr": items.dtype.str, "fortran_order": False, "shape": (length, *items.shape[1:])}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()


def read_array(path: Path, sha256: str) -> NDArray[Any]:
    """Returns the array in a file; raises ValueError when the file does not have this digest."""
    contents = path.read_bytes()
    if hashlib.sha256(contents).hexdigest() != sha256:
        raise ValueError(f"{path} is damaged")
    array: NDArray[Any] = np.load(io.BytesIO(contents), allow_pickle=False)
    return array


def _mapped(file: BinaryIO) -> mmap.mmap:
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        # Some file systems of networks cannot.
        raise DataError(
            f"{file.name} cannot be mapped into memory ({error.strerror or error}): set LRTRAIN_CACHE_DIR to a "
            "directory on a disk of this machine"
        ) from error


@dataclass(frozen=True, eq=False)
class MappedArray:
    """An array in a file, of which the system holds in memory what has been used last.

    Attributes:
      path: the file.
      items: the array.
    """

    path: Path
    items: NDArray[Any]
    _bytes: mmap.mmap

    @classmethod
    def of(cls, path: Path, sha256: str) -> MappedArray:
        """Maps a file after it has been read once.

        Raises ValueError when the file does not have this digest, and DataError when its file system maps none.
        """
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise ValueError(f"{path} is damaged")
            file.seek(0)
            np.lib.format.read_magic(file)
            shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
            if by_columns:
                raise ValueError(f"{path} has the order of Fortran")
            mapped = _mapped(file)
            items: NDArray[Any] = np.ndarray(shape, dtype, mapped, file.tell())
        # Otherwise the system reads much around each item, of which a shuffled order uses nothing.
        if hasattr(mapped, "madvise"):
            mapped.madvise(mmap.MADV_RANDOM)
        return cls(path, items, mapped)

    def take(self, indices: NDArray[np.integer[Any]], into: NDArray[Any]) -> None:
        """Copies items into an array, in this order; raises EOFError when the file is shorter than it was.

        Each index is one of an item: another one is taken for the nearest.
        """
        # The system ends a process that reads behind the end of a mapped file.
        if self._bytes.size() < len(self._bytes):
            raise EOFError("a file has been cut short since it was opened")
        # Any other mode copies twice.
        np.take(self.items, indices, 0, into, "clip")
