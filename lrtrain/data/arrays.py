"""Decoded arrays on the disk: the second start reads them in a fraction of a second, and trusts nothing unverified.

A folder holds two ``.npy`` files for each split and ``manifest.json``, which has their sha256 and the fingerprint of
the prepared data that they were read from. If anything does not match, the arrays are read from the source again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrain.cache import cache_dir
from lrtrain.data import disk
from lrtrain.data.types import Dataset, Split
from lrtrain.errors import DataError
from lrtrain.files import write_whole

_FORMAT = 2
_MANIFEST = "manifest.json"
# Everything that reading a damaged manifest or array can raise.
_NOT_VALID = (OSError, ValueError, KeyError, TypeError, AttributeError)
_ABOUT = ("name", "version", "num_classes", "class_names", "digests")


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
                _save(folder, key, source, dataset)
        return dataset


def cached_train_bytes(name: str, key: str) -> int | None:
    """Returns the size of the training images that are kept under ``key``, without reading them; None if none are."""
    folder = _folder(name, key)
    with contextlib.suppress(*_NOT_VALID):
        _manifest(folder / _MANIFEST, key)
        return int(np.load(folder / "train_images.npy", mmap_mode="r", allow_pickle=False).nbytes)
    return None


def cached_digests(name: str, key: str) -> dict[str, str] | None:
    """Returns the digests of the data set under ``key``, without reading its examples; None if none are known."""
    folder = _folder(name, key)
    for path in (folder / _MANIFEST, _digests_file(folder)):
        with contextlib.suppress(*_NOT_VALID):
            return dict(_manifest(path, key)["about"]["digests"])
    return None


def keep_digests(name: str, key: str, source: dict[str, object], digests: Mapping[str, str]) -> None:
    """Keeps the digests of a data set whose arrays are not kept; the arguments are as for `cached`."""
    file = _digests_file(_folder(name, key))
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        content = {"format": _FORMAT, "key": key, "source": source, "about": {"digests": dict(digests)}}
        write_whole(file, json.dumps(content, indent=1))


def _digests_file(folder: Path) -> Path:
    return cache_dir() / "digests" / f"{folder.name}.json"


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
    with contextlib.suppress(*_NOT_VALID):
        manifest = _manifest(folder / _MANIFEST, key)
        arrays = {name: _load_array(folder / name, digest) for name, digest in manifest["sha256"].items()}
        parts = ("train", "test", "validation") if _names("validation")[0] in arrays else ("train", "test")
        splits = {part: Split(*(arrays[name] for name in _names(part))) for part in parts}
        about = {name: manifest["about"][name] for name in _ABOUT}
        about["class_names"] = tuple(about["class_names"])
        return Dataset(**about, train=splits["train"], test=splits["test"], validation=splits.get("validation"))
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


def _load_array(path: Path, sha256: str) -> NDArray[Any]:
    contents = path.read_bytes()
    if hashlib.sha256(contents).hexdigest() != sha256:
        raise ValueError(f"{path} is damaged")
    array: NDArray[Any] = np.load(io.BytesIO(contents), allow_pickle=False)
    return array


def _save(folder: Path, key: str, source: dict[str, object], dataset: Dataset) -> None:
    """Writes beside ``folder`` and renames; the caller holds the lock."""
    for left_over in folder.parent.glob(f".{folder.name}.new-*"):
        shutil.rmtree(left_over)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.new-", dir=folder.parent))
    try:
        _write(new, key, source, dataset)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _write(folder: Path, key: str, source: dict[str, object], dataset: Dataset) -> None:
    sha256 = {}
    splits = {"train": dataset.train, "test": dataset.test}
    if dataset.validation is not None:
        splits["validation"] = dataset.validation
    for part, split in splits.items():
        images, labels = _names(part)
        sha256[images] = _write_array(folder / images, split.inputs)
        sha256[labels] = _write_array(folder / labels, split.targets)
    about = {name: getattr(dataset, name) for name in _ABOUT}
    manifest = {"format": _FORMAT, "key": key, "source": source, "about": about, "sha256": sha256}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")


def _write_array(path: Path, array: NDArray[Any]) -> str:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    path.write_bytes(buffer.getbuffer())
    return hashlib.sha256(buffer.getbuffer()).hexdigest()
