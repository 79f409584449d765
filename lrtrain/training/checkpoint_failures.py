"""What Orbax and Tensorstore say when a checkpoint cannot be written or read, in lrtrain's words."""

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
# Where something is written, it is that the directory has gone.
_GONE = "No such file or directory"


@contextlib.contextmanager
def failures_named(directory: Path) -> Iterator[None]:
    """Turns what the system refuses into a sentence that names the directory."""
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
    """Turns what the system refuses while checkpoints are read into a sentence; damaged contents raise what they do.

    Args:
      directory: what is read. Whatever is raised, all its files are tried: a library may have hidden the reason.

    Raises:
      TrainingError: the system has refused something.
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
    """Drops what Tensorstore and Orbax still have to say when reading a damaged file, or writing one, has failed.

    What is yielded waits for it; call it when the error that has been caught is gone, as it holds what is to end.
    """
    told = sys.unraisablehook

    def hook(late: sys.UnraisableHookArgs) -> None:
        ended = isinstance(getattr(late.exc_value, "__cause__", None), GeneratorExit)
        # Without a file for itself, a loop is half made, and cannot be unmade.
        of_a_loop = getattr(late.object, "__qualname__", "") == "BaseEventLoop.__del__"
        if not ended and not of_a_loop and str(late.exc_value) != "Event loop is closed":
            told(late)

    def rest() -> None:
        # The threads have no end that could be waited for.
        time.sleep(_LATE)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*was never awaited", RuntimeWarning)
            gc.collect()

    sys.unraisablehook = hook
    try:
        yield rest
    finally:
        sys.unraisablehook = told
