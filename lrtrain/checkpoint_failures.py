"""What Orbax and Tensorstore say when a checkpoint cannot be written or read, in lrtrain's words."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lrtrain.errors import TrainingError, cause

_LATE = 0.2
# As the C library says them.
_REFUSED = (
    "No space left on device",
    "File too large",
    "Disk quota exceeded",
    "Read-only file system",
    "Permission denied",
    "No such file or directory",
)


@contextlib.contextmanager
def failures_named(directory: Path) -> Iterator[None]:
    """Turns what the system refuses into a sentence that names the directory."""
    try:
        yield
    except Exception as error:
        # Tensorstore has errors of its own for what the system refuses.
        if not isinstance(error, OSError) and not any(text in str(error) for text in _REFUSED):
            raise
        raise TrainingError(
            f"a checkpoint could not be written to {directory} ({_reason(error)}): those that are there are kept, and "
            "--resume goes on from the last one once that is mended"
        ) from error


def _reason(error: Exception) -> str:
    """Returns what the system said; Tensorstore says it at the end of a long line, or of several."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return next((text for text in _REFUSED if text in str(error)), cause(error)[:300])


@contextlib.contextmanager
def late_errors_dropped() -> Iterator[Callable[[], None]]:
    """Drops what Tensorstore and Orbax still have to say when reading a damaged file, or writing one, has failed.

    What is yielded waits for it; call it when the error that has been caught is gone, as it holds what is to end.
    """
    told = sys.unraisablehook

    def hook(late: sys.UnraisableHookArgs) -> None:
        ended = isinstance(getattr(late.exc_value, "__cause__", None), GeneratorExit)
        if not ended and str(late.exc_value) != "Event loop is closed":
            told(late)

    def rest() -> None:
        # The threads have no end that could be waited for.
        time.sleep(_LATE)
        gc.collect()

    sys.unraisablehook = hook
    try:
        yield rest
    finally:
        sys.unraisablehook = told
