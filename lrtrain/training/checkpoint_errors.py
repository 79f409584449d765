"""Sentences for the errors of Orbax and Tensorstore when a checkpoint cannot be written or read."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from lrtrain.errors import LrtrainError, TrainingError, cause
from lrtrain.system_refusal import refusal, refusal_to_read

_LATE = 0.2
# When a file is written, this means that its directory has been removed.
_GONE = "No such file or directory"


@contextlib.contextmanager
def failures_named(directory: Path) -> Iterator[None]:
    """Turns an error of the system while checkpoints are written into a sentence that names the directory."""
    try:
        yield
    except Exception as error:
        reason = refusal(error) or _reason(error)
        if reason is None:
            raise
        raise TrainingError(
            f"a checkpoint could not be written to {directory} ({reason}): those that are there are kept, and "
            "--resume goes on from the last one once that is put right"
        ) from error


def _reason(error: Exception) -> str | None:
    if isinstance(error, OSError):
        return error.strerror or cause(error)[:300]
    return _GONE if _GONE in str(error) else None


@contextlib.contextmanager
def refusals_to_read_named(directory: Path) -> Iterator[None]:
    """Turns an error of the system while checkpoints are read into a sentence; other errors are not changed.

    After any error all files of the directory are tried: a library may hide the reason.
    """
    try:
        yield
    except LrtrainError:
        raise
    except Exception as error:
        reason = refusal(error) or refusal_to_read(directory)
        if reason is None:
            raise
        raise TrainingError(
            f"{directory} cannot be read at the moment ({reason}): nothing in it has been changed, and --resume goes "
            "on once that is put right"
        ) from error


@contextlib.contextmanager
def late_errors_dropped() -> Iterator[Callable[[], None]]:
    """Drops the late errors of Tensorstore and Orbax after a damaged file could not be read, or a file not written.

    The function that is yielded waits for them. Call it after the ``except`` block, because the error that was caught
    keeps alive the objects that are to end.
    """
    told = sys.unraisablehook

    def hook(late: sys.UnraisableHookArgs) -> None:
        ended = isinstance(getattr(late.exc_value, "__cause__", None), GeneratorExit)
        # An event loop for which no file could be opened is incomplete, and its `__del__` raises.
        of_a_loop = getattr(late.object, "__qualname__", "") == "BaseEventLoop.__del__"
        if not ended and not of_a_loop and str(late.exc_value) != "Event loop is closed":
            told(late)

    def rest() -> None:
        # There is nothing to wait for: the threads do not say when they end.
        time.sleep(_LATE)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*was never awaited", RuntimeWarning)
            gc.collect()

    sys.unraisablehook = hook
    try:
        yield rest
    finally:
        sys.unraisablehook = told
