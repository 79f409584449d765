"""The lock of a run: a process that trains holds it on the run's directory until the process ends, in whatever way.

It is a lock of the system (``flock``) on the directory itself, so there is no lock file that could become stale. Some
network file systems have no such locks; a run there counts as not locked.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lrtrain.errors import RunDirError

_TRIES, _PAUSE = 20, 0.05


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Holds the lock of a run's directory, which exists; raises RunDirError when another process holds it."""
    with _opened(directory) as handle:
        if handle is not None:
            if not _locked(handle):
                raise RunDirError(f"another process is writing to {directory}: wait for it, or end it")
            if not _is_at(handle, directory):
                raise RunDirError(f"{directory} has been removed meanwhile: try again")
        yield


def being_written(directory: Path) -> bool:
    """Returns whether a process is writing to a run; False where the file system has no locks."""
    with _opened(directory) as handle:
        return handle is not None and not _lock(handle, shared=True)


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int | None]:
    """Opens a directory; yields None where the system has no locks, or does not let it be opened."""
    with contextlib.ExitStack() as opened:
        handle = None
        if sys.platform != "win32":
            with contextlib.suppress(OSError):
                handle = os.open(directory, os.O_RDONLY)
                opened.callback(os.close, handle)
        yield handle


def _is_at(handle: int, directory: Path) -> bool:
    """Returns whether the open directory still has its name; the last process to use it may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle), directory.stat())
    except FileNotFoundError:
        return False


def _locked(handle: int) -> bool:
    # A process that reads the run holds the lock for an instant; one that writes, for long.
    for _ in range(_TRIES):
        if _lock(handle, shared=False):
            return True
        time.sleep(_PAUSE)
    return False


def _lock(handle: int, *, shared: bool) -> bool:
    """Locks an open directory until it is closed; returns False when another process has locked it."""
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # This file system has no locks.
            return True
    return True
