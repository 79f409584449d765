"""Processor time, which a busy machine changes less than the time by the clock."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

_TASKS = Path("/proc/self/task")
_XLA = "tf_XLA"


def beside_xla() -> float | None:
    """Returns the seconds that this process has computed, without XLA's threads; None where Linux does not say."""
    if not _TASKS.is_dir():
        return None
    # The total includes threads that have ended, so the time of XLA's threads is subtracted from it.
    return time.process_time() - sum(map(_seconds_of_xla, _TASKS.iterdir()))


def _seconds_of_xla(task: Path) -> float:
    with contextlib.suppress(OSError):
        if (task / "comm").read_text().startswith(_XLA):
            return int((task / "schedstat").read_text().split()[0]) / 1e9
    return 0.0


def spent(before: float | None) -> float | None:
    """Returns the seconds since `beside_xla` gave ``before``."""
    now = beside_xla()
    return None if now is None or before is None else now - before
