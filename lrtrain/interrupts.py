"""Signals that ask a process to end (Ctrl-C, SIGTERM): noted for the next moment at which nothing is torn."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_FREE = (signal.SIG_DFL, signal.default_int_handler)


class Terminated(SystemExit):
    """SIGTERM has ended the run; a program that does not catch it ends with the exit code of one that was killed so."""

    def __init__(self) -> None:
        super().__init__(exit_code(signal.SIGTERM))


class Ending:
    """Whether a signal has asked the process to end."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def asked(self) -> bool:
        """Whether one has."""
        return self.signal is not None

    def error(self) -> BaseException:
        """Returns what is to be raised when all is safe."""
        return error_of(self.signal or signal.SIGINT)


class _Work:
    """Work that is in progress and is finished before the process ends; only the main thread changes it."""

    current: Ending | None = None


def exit_code(number: int) -> int:
    """Returns the exit code of a process that a signal has ended, as shells have it."""
    return 128 + number


def error_of(number: int) -> BaseException:
    """Returns the exception that a signal stands for."""
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()


def raise_for(number: int, _: FrameType | None) -> None:
    """Raises what a signal stands for: a handler."""
    raise error_of(number)


def work_in_progress() -> bool:
    """Tells, in any thread, whether a signal is waited with until work is safe."""
    return _Work.current is not None


@contextlib.contextmanager
def endings_noted() -> Iterator[Ending]:
    """Yields what notes the first signal; a second one acts at once. Handlers of the program's own stay as they are."""
    ending = Ending()

    def note(number: int, frame: FrameType | None) -> None:
        if ending.asked:
            raise_for(number, frame)
        ending.signal = number

    with _handled(note, lambda handler: handler in (*_FREE, raise_for)):
        _Work.current = ending
        try:
            yield ending
        finally:
            _Work.current = None


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Lets a signal that comes meanwhile act at the end, and not in the middle of a library's own work."""
    came: list[tuple[int, FrameType | None]] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        with _handled(lambda *what: came.append(what), callable):
            yield
    finally:
        for number, frame in came[:1]:
            handler = before[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], object], replaces: Callable[[object], bool]) -> Iterator[None]:
    """Installs a handler in the place of those that it replaces, for a while."""
    # Python runs handlers on the main thread alone; None is a handler that Python has not installed.
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS} if main else {}
    replaced = {number: old for number, old in before.items() if old is not None and replaces(old)}
    try:
        for number in replaced:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in replaced.items():
            signal.signal(number, old)
