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

from lrtrain.data import disk
from lrtrain.errors import DataError, LrtrainError, TrainingError, cause
from lrtrain.extras import check_extra
from lrtrain.system_refusal import refusal, refusal_to_read


class DamagedError(DataError):
    """Prepared data that cannot be read: preparing it again is the cure."""

    def __init__(self, directory: Path, why: str) -> None:
        super().__init__(
            f"the data in {directory} is damaged ({why}): delete that directory and prepare the data set again"
        )
        self.directory = directory


def unreadable(directory: Path, error: Exception) -> LrtrainError:
    """Returns the error for prepared data that a library could not read, given what the library raised.

    All files in the directory are tried, because a library may have hidden the reason. It is TrainingError where the
    system refuses to read them at the moment, so that the data may be valid; else `DamagedError`.
    """
    refused = refusal(error) or refusal_to_read(directory)
    if refused is None:
        return DamagedError(directory, cause(error))
    return TrainingError(
        f"the data in {directory} cannot be read at the moment ({refused}): it has not been changed, so try again once "
        "that is put right"
    )


def tfds() -> Any:
    """Imports tensorflow-datasets: it takes a second, has no types, and looks for TensorFlow only when it is used.

    Raises UsageError when it is not installed.
    """
    check_extra("tfds", "a data set of tensorflow-datasets")
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


def prepare(builder_class: Any, root: Path) -> Path:
    """Prepares the version of ``builder_class`` in ``root``, unless that is done, and returns its directory.

    Safe when several processes do it at once and when it is interrupted: a directory gets its final name only when
    it is complete.

    Raises:
      DamagedError: the directory is there and is not complete.
      DataError: the builder cannot prepare its data, or ``root`` cannot be written.
    """
    import filelock

    try:
        root.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(root / f".{builder_class.name}.lock"), quiet():
            return _prepare_alone(builder_class, root)
    except DamagedError:
        raise
    except Exception as error:
        raise _as_data_error(error, builder_class.name, root) from error


def _prepare_alone(builder_class: Any, root: Path) -> Path:
    directory = root / str(builder_class.name) / str(builder_class.VERSION)
    if disk.is_prepared(directory):
        return directory
    if directory.exists():
        raise DamagedError(directory, "it is not complete")
    # A killed process leaves such a directory, and the lock tells that nobody is at work on it.
    for left_over in directory.parent.glob(f"incomplete.*_{directory.name}"):
        shutil.rmtree(left_over)
    builder_class(data_dir=root, file_format="array_record").download_and_prepare()
    return directory


def _as_data_error(error: Exception, name: str, root: Path) -> DataError:
    """Finds the sentence of the builder, which tensorflow-datasets may have wrapped into an error of its own."""
    earlier: BaseException | None = error
    while earlier is not None:
        if isinstance(earlier, DataError):
            return DataError(str(earlier))
        earlier = earlier.__cause__
    sentence = f"the data set '{name}' cannot be prepared in {root} ({cause(error)})"
    if isinstance(error, OSError):
        sentence += ": make room there, or choose another directory with --data-dir or LRTRAIN_CACHE_DIR"
    return DataError(sentence)
