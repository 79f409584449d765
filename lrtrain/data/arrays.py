"""Decoded arrays on the disk: the second start reads them in a fraction of a second, and trusts nothing unverified.

A folder holds two ``.npy`` files for each split and ``manifest.json``, which has their sha256 and the fingerprint of
the prepared data that they were read from. If anything does not match, the arrays are read from the source again. The
training examples that are streamed are those of the same files.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lrtrain.cache import cache_dir
from lrtrain.data import disk
from lrtrain.data.npy import MappedArray, NpyWriter, read_array
from lrtrain.data.types import Dataset, Split, Train, digest_of
from lrtrain.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lrtrain.data.examples import Examples
    from lrtrain.data.stream import StreamedDataset

_FORMAT = 2
_MANIFEST = "manifest.json"
# Everything that reading a damaged manifest or array can raise.
_NOT_VALID = (OSError, ValueError, KeyError, TypeError, AttributeError)
_ABOUT = ("name", "version", "num_classes", "class_names")

Keep: TypeAlias = "Callable[[dict[str, object], Dataset[Examples]], None]"
"""Keeps the data set that was decoded from a source, of which the fingerprint is given."""


def cached(name: str, key: str, read: Callable[[], tuple[dict[str, object], Dataset]]) -> Dataset:
    """Returns the data set that was kept under ``key``; calls ``read`` and keeps its result if there is none.

    ``name`` is a readable part of the folder's name, and ``key`` all that distinguishes one data set from another.
    ``read`` gives the fingerprint of the source and the data set.

    Raises:
      DataError: the cache directory cannot be written; and whatever ``read`` raises.
    """
    folder = _folder(name, key)
    dataset = _load(folder, key)
    if dataset is not None:
        return dataset
    with _locked(folder):
        # Another process may have filled the cache while this one waited.
        dataset = _load(folder, key)
        if dataset is None:
            source, dataset = read()
            # A full disk must not stop a run whose data is in memory.
            with contextlib.suppress(OSError):
                _save(folder, lambda new: _write(new, key, source, dataset))
        return dataset


def mapped(name: str, key: str, decode: Callable[[Keep], None]) -> StreamedDataset:
    """Opens the data set that was kept under ``key``, its training examples on the disk, as `cached` loads it.

    ``decode`` calls what it is given with the fingerprint of the source and the data set; a second time if the first
    call has raised an error.

    Raises:
      DataError: the cache directory cannot be written, or has no room; and whatever ``decode`` raises.
    """
    folder = _folder(name, key)
    dataset = _map(folder, key)
    if dataset is not None:
        return dataset
    with _locked(folder):
        dataset = _map(folder, key)
        if dataset is None:
            _decode(name, key, decode, folder)
            dataset = _map(folder, key)
    if dataset is None:
        raise DataError(f"the data of '{name}' has changed while it was decoded: begin again")
    return dataset


def _decode(name: str, key: str, decode: Callable[[Keep], None], folder: Path) -> None:
    def write(new: Path) -> None:
        def keep(source: dict[str, object], decoded: Dataset[Examples]) -> None:
            _check_room(new, decoded.train.decoded_bytes())
            _write(new, key, source, decoded)

        decode(keep)

    try:
        _save(folder, write)
    except OSError as error:
        raise DataError(
            f"the decoded examples of '{name}', which are streamed, cannot be kept in {folder.parent} "
            f"({error.strerror or error}): set LRTRAIN_CACHE_DIR to a directory that has room"
        ) from error


def cached_train_bytes(name: str, key: str) -> int | None:
    """Returns the size of the training images that are kept under ``key``, without reading them; None if none are."""
    folder = _folder(name, key)
    with contextlib.suppress(*_NOT_VALID):
        _manifest(folder / _MANIFEST, key)
        return int(np.load(folder / "train_images.npy", mmap_mode="r", allow_pickle=False).nbytes)
    return None


def _folder(name: str, key: str) -> Path:
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    # A name may be that of a folder, which is as long as the file system has them.
    return cache_dir() / "arrays" / f"{name.replace('/', '-')[:50]}-{digest}"


def _locked(folder: Path) -> contextlib.AbstractContextManager[object]:
    """Locks a folder until the end of the block that is entered with the result."""
    import filelock

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(folder.with_name(f".{folder.name}.lock")).acquire()
    except OSError as error:
        raise DataError(
            f"the cache directory {folder.parent} cannot be written ({error.strerror}): "
            "set LRTRAIN_CACHE_DIR to a directory that can"
        ) from error


def _load(folder: Path, key: str) -> Dataset | None:
    return _opened(folder, key, lambda *files: Split(*(read_array(*file) for file in files)))


def _map(folder: Path, key: str) -> StreamedDataset | None:
    # It imports what only streaming needs.
    from lrtrain.data.stream import Stream

    return _opened(folder, key, lambda *files: Stream(MappedArray.of(*files[0]), MappedArray.of(*files[1])))


def _opened(folder: Path, key: str, train_of: Callable[..., Train]) -> Dataset[Train] | None:
    """Returns the data set in a folder; ``train_of`` makes its training examples of two files with their digests."""
    with contextlib.suppress(*_NOT_VALID):
        manifest = _manifest(folder / _MANIFEST, key)
        sha256: dict[str, str] = manifest["sha256"]

        def files(part: str) -> list[tuple[Path, str]]:
            return [(folder / name, sha256[name]) for name in _names(part)]

        def split(part: str) -> Split:
            return Split(*(read_array(*file) for file in files(part)))

        about = {name: manifest["about"][name] for name in (*_ABOUT, "digests")}
        about["class_names"] = tuple(about["class_names"])
        validation = split("validation") if _names("validation")[0] in sha256 else None
        return Dataset(**about, train=train_of(*files("train")), test=split("test"), validation=validation)
    return None


def _names(part: str) -> tuple[str, str]:
    return f"{part}_images.npy", f"{part}_labels.npy"


def _manifest(path: Path, key: str) -> dict[str, Any]:
    """Returns a manifest; raises one of `_NOT_VALID` if it is of other data, or of files that have changed since."""
    manifest: dict[str, Any] = json.loads(path.read_bytes())
    source = disk.fingerprint(Path(manifest["source"]["directory"]))
    if (manifest["format"], manifest["key"], manifest["source"]) != (_FORMAT, key, source):
        raise ValueError(f"{path} is not of the data that there is now")
    return manifest


def _save(folder: Path, write: Callable[[Path], object]) -> None:
    """Has ``write`` fill a folder beside ``folder`` and renames it; the caller holds the lock."""
    for left_over in folder.parent.glob(f".{folder.name}.new-*"):
        shutil.rmtree(left_over)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.new-", dir=folder.parent))
    try:
        write(new)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _write(folder: Path, key: str, source: dict[str, object], dataset: Dataset[Any]) -> None:
    """Writes arrays and manifest; the digests of the examples are computed where the data set does not have them."""
    sha256: dict[str, str] = {}
    digests: dict[str, str] = {}
    for part in ("train", "test", "validation"):
        split: Split | Examples | None = getattr(dataset, part)
        if split is not None:
            digests[part], files = _write_split(folder, part, split)
            sha256 |= files
    about = {name: getattr(dataset, name) for name in _ABOUT}
    about["digests"] = dict(dataset.digests) or {part: digests[part] for part in ("train", "test")}
    manifest = {"format": _FORMAT, "key": key, "source": source, "about": about, "sha256": sha256}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")


def _write_split(folder: Path, part: str, split: Split | Examples) -> tuple[str, dict[str, str]]:
    """Writes the two arrays of a split; returns the digest of its examples, and the sha256 of each file."""
    names = _names(part)
    with NpyWriter(folder / names[0], len(split)) as inputs, NpyWriter(folder / names[1], len(split)) as targets:

        def written() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
            for some in split.parts():
                inputs.write(some[0])
                targets.write(some[1])
                yield some

        digest = digest_of(written())
    return digest, {names[0]: inputs.digest.hexdigest(), names[1]: targets.digest.hexdigest()}


def _check_room(folder: Path, needed: int) -> None:
    """Raises OSError where decoded examples do not fit on the disk, before all but the first are decoded."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 2**30:.3g} GiB are needed and {free / 2**30:.3g} free")
