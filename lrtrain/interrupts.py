"""Interrupts that wait for what must not be torn."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Lets an interrupt (Ctrl-C) that comes meanwhile act at the end, and not in the middle of a library's own work."""
    handler = signal.getsignal(signal.SIGINT)
    # Python runs handlers on the main thread alone; None is a handler that Python has not installed.
    if threading.current_thread() is not threading.main_thread() or handler is None:
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda *what: came.append(what))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came and callable(handler):
            handler(*came[0])
