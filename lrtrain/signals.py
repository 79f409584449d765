"""Signals that ask a process to end (Ctrl-C, SIGTERM): noted until the process can end without an incomplete file.

A run notes the first one, sends no further steps, saves a checkpoint (`Loop` in ``training/loop.py``) and raises the
error of the signal, which ``cli/main.py`` prints and turns into the exit code, 130 or 143. Meanwhile
``cli/signal_watchdog.py`` ends a process that takes too long, or is asked a second time.
"""

from __future__ import annotations

import contextlib
import signal
import threading

# That of `signal` looks for an enum in the answer, which takes fifty times as long.
from _signal import getsignal  # type: ignore[import-not-found]
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_FREE = (signal.SIG_DFL, signal.default_int_handler)


class Terminated(SystemExit):
    """SIGTERM has ended the run; a program that does not catch it ends with the exit code 143, as if it was killed."""

    def __init__(self) -> None:
        super().__init__(exit_code(signal.SIGTERM))


@dataclass
class Ending:
    """The first signal that has asked the process to end; None while none has."""

    signal: int | None = None


@dataclass
class Process:
    """What is known of this process as a whole when something ends it early; there is one, `PROCESS`.

    Commands and distributed runs write it, and whatever ends the process reads it, which need not know either.

    Args:
      how_to_go_on: returns how the work of the process is continued, as half a sentence.
      said: whether its last error has been printed; it may wait for other processes after that.
      let_go: lets the other processes of a distributed run end before this one does; None outside of such a run.
      work: what is finished before a signal ends the process; only the main thread changes it.
      wakeup: where Python writes the numbers of signals, if `wakes_up` has been called.
    """

    how_to_go_on: Callable[[], str] = lambda: "nothing has been done yet"
    said: bool = False
    let_go: Callable[[], None] | None = None
    work: Ending | None = None
    wakeup: int | None = None


PROCESS = Process()


def exit_code(number: int) -> int:
    """Returns the exit code of a process that a signal has ended, as shells have it."""
    return 128 + number


def error_of(number: int) -> BaseException:
    """Returns the exception that a signal stands for."""
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()


def raise_for(number: int, _: FrameType | None) -> None:
    """Raises what a signal stands for: a handler."""
    raise error_of(number)


@contextlib.contextmanager
def endings_noted() -> Iterator[Ending]:
    """Yields an `Ending` that notes the first signal; a second one acts at once. The program's own handlers stay."""
    ending = Ending()

    def note(number: int, frame: FrameType | None) -> None:
        if ending.signal is not None:
            raise_for(number, frame)
        ending.signal = number

    with _handled(note, lambda handler: handler in (*_FREE, raise_for)):
        PROCESS.work = ending
        try:
            yield ending
        finally:
            PROCESS.work = None


class handlers_put_back:  # noqa: N801  # a context manager; a generator would take longer than its work, which is done at every step
    """Restores the handlers of the signals and the descriptor of `wakes_up` after code of others has run."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = tuple(map(getsignal, SIGNALS)) if _is_main_thread() else ()

    def __exit__(self, *exception: object) -> None:
        for number, before in zip(SIGNALS, self._before, strict=False):
            # None is a handler that Python has not installed, and cannot.
            if before is not None and getsignal(number) is not before:
                signal.signal(number, before)
        if self._before and PROCESS.wakeup is not None:
            signal.set_wakeup_fd(PROCESS.wakeup, warn_on_full_buffer=False)


def wakes_up(descriptor: int) -> None:
    """Has Python write the number of every signal to a descriptor, until the process ends."""
    PROCESS.wakeup = descriptor
    signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Delays a signal until the end of the block, so that it does not interrupt the work of a library."""
    came: list[tuple[int, FrameType | None]] = []
    try:
        with _handled(lambda *what: came.append(what), callable) as replaced:
            yield
    finally:
        for number, frame in came[:1]:
            replaced[number](number, frame)


@contextlib.contextmanager
def _handled(
    handler: Callable[[int, FrameType | None], object], replaces: Callable[[object], bool]
) -> Iterator[dict[int, Any]]:
    """Replaces some handlers of signals for the time of the block, and yields those that were there before."""
    # Python runs handlers on the main thread alone; None is a handler that Python has not installed.
    before = {number: signal.getsignal(number) for number in SIGNALS} if _is_main_thread() else {}
    replaced: dict[int, Any] = {number: old for number, old in before.items() if old is not None and replaces(old)}
    try:
        for number in replaced:
            signal.signal(number, handler)
        yield replaced
    finally:
        for number, old in replaced.items():
            signal.signal(number, old)
