"""How a signal ends a command: in order if that is quick; at once after a second signal or too long a wait."""

from __future__ import annotations

import atexit
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from lrtrain.signals import PROCESS, SIGNALS, Terminated, exit_code, raise_for, wakes_up

# From the signal, or from the checkpoint that it has led to, to the end of the process.
_GRACE = 1.0
_POLL = 0.05
# How long what a plugin or a library has left running may still take.
_PATIENCE = 3.0
_SHOW_CURSOR = "\x1b[?25h"


_ending = threading.Event()


def words(number: int) -> str:
    """Returns the sentence with which a command ends on a signal."""
    return f"{'terminated' if number == signal.SIGTERM else 'interrupted'}; {PROCESS.how_to_go_on()}"


def leave_the_end_to_the_watcher() -> None:
    """Waits for ever once a signal is ending the process, so that errors that follow from it are not printed."""
    while _ending.is_set():
        time.sleep(_GRACE)


def leave(code: int) -> NoReturn:
    """Ends this process; in a distributed run at once, so that the others see it and nothing waits for them."""
    if PROCESS.let_go is None:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    PROCESS.let_go()
    os._exit(code)


def watch_signals() -> None:
    """Lets SIGTERM raise an exception, as Ctrl-C does, and starts a thread that ends the process if nothing else does.

    Python runs handlers between two of its own instructions, and the compiler or an import may take seconds in between.
    """
    if sys.platform == "win32" or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.signal(signal.SIGTERM, raise_for)
    # Only its number is kept, so that it stays open until the process ends.
    wakes_up(theirs.detach())
    threading.Thread(target=_watch, args=(ours,), name="signals", daemon=True).start()
    _leave_swallowed_ones_to_the_thread()


def _leave_swallowed_ones_to_the_thread() -> None:
    """Prints nothing about a signal that came in a destructor or a callback of the collector, which cannot raise."""
    told = sys.unraisablehook

    def hook(swallowed: sys.UnraisableHookArgs) -> None:
        if not issubclass(swallowed.exc_type, (KeyboardInterrupt, Terminated)):
            told(swallowed)

    sys.unraisablehook = hook


@contextmanager
def threads_left_behind() -> Iterator[None]:
    """Ends the process soon after the block, even if threads are still running."""
    code: object = 1
    try:
        yield
        code = 0
    except SystemExit as stop:
        code = stop.code
        raise
    finally:
        if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
            over = threading.Event()
            # Python joins all threads before it calls this; it was registered last and is called first.
            atexit.register(over.set)
            ended = code if isinstance(code, int) else int(code is not None)
            threading.Thread(target=_end_without, args=(over, ended), name="end", daemon=True).start()


def _end_without(over: threading.Event, code: int) -> None:
    """Ends the process unless its threads end in time: Python itself would wait for them for ever."""
    if over.wait(_PATIENCE):
        return
    # Orbax leaves some when a checkpoint could not be written, which is an error with a sentence of its own.
    if code == 0:
        left = [t.name for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
        print(f"lrtrain: ended without threads that were still running: {', '.join(left)}", file=sys.stderr)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _watch(signals: socket.socket) -> NoReturn:
    """Waits for the first signal, and then for a second one or for too long a silence."""
    first = signals.recv(1)[0]
    while first not in SIGNALS:
        first = signals.recv(1)[0]
    deadline = time.monotonic() + _GRACE
    while True:
        if select.select([signals], [], [], _POLL)[0] and set(signals.recv(16)).intersection(SIGNALS):
            _end(first)
        if PROCESS.work is not None:
            deadline = time.monotonic() + _GRACE
        elif time.monotonic() > deadline:
            _end(first)


def _end(number: int) -> NoReturn:
    # Every file is written whole, and --resume repairs a log whose last line is incomplete.
    _ending.set()
    if not PROCESS.said:
        cursor = _SHOW_CURSOR if os.isatty(2) else ""
        with suppress(OSError):
            os.write(2, f"{cursor}Error: {words(number)}\n".encode(errors="replace"))
    if PROCESS.let_go is not None:
        PROCESS.let_go()
    os._exit(exit_code(number))
