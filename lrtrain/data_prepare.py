"""Has tensorflow-datasets prepare the data set of an installed package, without TensorFlow and in silence."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lrtrain import data_disk
from lrtrain.errors import DataError


def tfds() -> Any:
    """Imports tensorflow-datasets: it takes a second, has no types, and looks for TensorFlow only when it is used."""
    return importlib.import_module("tensorflow_datasets")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Holds back what tensorflow-datasets prints (to stdout), its log lines, and, for good, its progress bars."""
    tfds().disable_progress_bar()
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def is_known(name: str) -> bool:
    """Tells whether tensorflow-datasets has code for the data set ``name``; asks no network."""
    with quiet():
        return name in tfds().list_builders(with_community_datasets=False)


def prepare(builder_class: Any, root: Path) -> Path:
    """Prepares the version of ``builder_class`` in ``root``, unless that is done, and returns its directory.

    Safe when several processes do it at once and when it is interrupted: a directory gets its final name only when
    it is complete.

    Raises:
        DataError: the builder cannot prepare its data, or ``root`` cannot be written.
    """
    import filelock

    try:
        root.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(root / f".{builder_class.name}.lock"), quiet():
            return _prepare_alone(builder_class, root)
    except Exception as error:
        raise _data_error(error) or DataError(
            f"the data set '{builder_class.name}' cannot be prepared in {root} ({reason(error)}): "
            "free some space there, or choose another directory with --data-dir or LRTRAIN_CACHE_DIR"
        ) from error


def _prepare_alone(builder_class: Any, root: Path) -> Path:
    builder = builder_class(data_dir=root, file_format="array_record")
    directory = Path(builder.data_dir)
    if not data_disk.is_prepared(directory):
        _remove_unfinished(directory)
        builder.download_and_prepare()
    return directory


def _remove_unfinished(directory: Path) -> None:
    """A killed process leaves ``incomplete.*_<version>``, and the lock tells that nobody is at work on it.

    The directory itself is there but not complete only if somebody deleted files from it.
    """
    for path in [*directory.parent.glob(f"incomplete.*_{directory.name}"), directory]:
        if path.exists():
            shutil.rmtree(path)


def _data_error(error: BaseException | None) -> DataError | None:
    """Finds the error of a builder, which tensorflow-datasets may have wrapped into one of its own."""
    while error is not None and not isinstance(error, DataError):
        error = error.__cause__
    return error


def reason(error: BaseException) -> str:
    """Returns the kind of ``error`` and the first line of its message, to be put in brackets."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
