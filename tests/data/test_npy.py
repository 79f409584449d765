"""Files of one array, beside those that NumPy writes and reads."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest

from lrtrain.data import npy
from lrtrain.data.npy import MappedArray, NpyWriter, read_array
from lrtrain.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (70, 5, 3, 2), np.uint8)
ARRAYS = {
    "images": IMAGES,
    "labels": np.arange(70, dtype=np.int32),
    "big-endian": np.arange(70, dtype=">f8"),
    "every second": IMAGES[:, ::2],
    "in Fortran's order": np.asfortranarray(IMAGES),
}


def written(path: Path, array: np.ndarray, parts: int = 3) -> str:
    """Writes an array in parts; returns the digest."""
    with NpyWriter(path, len(array)) as writer:
        for part in np.array_split(array, parts):
            writer.write(part)
    return writer.digest.hexdigest()


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_a_file_is_the_one_that_numpy_writes(tmp_path: Path, array: np.ndarray) -> None:
    expected = io.BytesIO()
    np.save(expected, np.ascontiguousarray(array))
    digest = written(tmp_path / "a.npy", array)
    assert (tmp_path / "a.npy").read_bytes() == expected.getvalue()
    assert digest == hashlib.sha256(expected.getvalue()).hexdigest()
    for read in (read_array(tmp_path / "a.npy", digest), MappedArray.of(tmp_path / "a.npy", digest).items):
        np.testing.assert_array_equal(read, array, strict=True)


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_items_are_copied_in_the_order_that_is_asked_for(tmp_path: Path, kind: type) -> None:
    mapped = MappedArray.of(tmp_path / "a.npy", written(tmp_path / "a.npy", IMAGES))
    order = np.array([69, 0, 3, 3, 68], kind)
    into = np.empty((5, *IMAGES.shape[1:]), np.uint8)
    mapped.take(order, into)
    np.testing.assert_array_equal(into, IMAGES[order])
    with pytest.raises(ValueError, match="read-only"):
        mapped.items[0] = 0


@pytest.mark.parametrize("change", [b"x", b""], ids=["altered", "cut"])
def test_a_file_with_another_digest_is_refused(tmp_path: Path, change: bytes) -> None:
    path = tmp_path / "a.npy"
    digest = written(path, IMAGES)
    path.write_bytes(path.read_bytes()[:-1] + change)
    for read in (read_array, MappedArray.of):
        with pytest.raises(ValueError, match="is damaged"):
            read(path, digest)


def test_a_file_that_is_cut_later_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    mapped = MappedArray.of(path, written(path, IMAGES))
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(EOFError, match="a file has been cut short since it was opened"):
        mapped.take(np.arange(3), np.empty((3, *IMAGES.shape[1:]), np.uint8))


def test_a_file_that_is_replaced_or_removed_later_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    mapped = MappedArray.of(path, written(path, IMAGES))
    path.unlink()
    into = np.empty((70, *IMAGES.shape[1:]), np.uint8)
    mapped.take(np.arange(70), into)
    np.testing.assert_array_equal(into, IMAGES)


def test_a_file_that_cannot_be_mapped_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    path = tmp_path / "a.npy"
    np.save(path, np.arange(3))
    monkeypatch.setattr(npy.mmap, "mmap", refuses)
    with pytest.raises(
        DataError, match=r"a\.npy cannot be mapped into memory \(No such device\): set LRTRAIN_CACHE_DIR"
    ):
        MappedArray.of(path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_the_order_of_fortran_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.asfortranarray(np.arange(6).reshape(2, 3)))
    with pytest.raises(ValueError, match="order of Fortran"):
        MappedArray.of(path, hashlib.sha256(path.read_bytes()).hexdigest())
