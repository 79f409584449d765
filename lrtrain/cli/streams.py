"""Standard streams that are closed, full or gone: lost progress is not reported, and lost results are an error."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from lrtrain.errors import LrtrainError


class OutputError(LrtrainError):
    """Standard output, where the results of a command go, cannot be written."""

    def __init__(self, reason: str, advice: str = "send it to where it can be, as with > FILE") -> None:
        super().__init__(f"standard output cannot be written ({reason}): {advice}")
        self.reason = reason


def guard_streams() -> None:
    """Makes standard error never raise and standard output raise `OutputError`; call it before anything is written."""
    # A file that is opened later would get the number of a closed one, and what libraries print would be written to it.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest number that is free, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # as long as the process
    sys.stdout = _over(sys.stdout, 1, _Results)
    sys.stderr = _over(sys.stderr, 2, _Progress)


@contextmanager
def results_kept(where: str) -> Iterator[None]:
    """Adds to the error for results that cannot be printed where they are, or what has been done."""
    try:
        yield
    except OutputError as error:
        raise OutputError(error.reason, where) from error


# Both are buffers and not what is below one: a signal can interrupt a write in Python between the system's answer and
# its return, and a buffer would write the same again.
class _Progress(io.BufferedWriter):
    """Drops what cannot be written."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self._refused(error)
            return len(data)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._refused(error)

    def _refused(self, error: OSError) -> None:
        """Ignores the error."""


class _Results(_Progress):
    """Raises an error once and drops what is written later: Python writes its buffer when the process ends."""

    _lost = False

    def _refused(self, error: OSError) -> None:
        if self._lost:
            return
        self._lost = True
        if isinstance(error, BrokenPipeError):
            raise error
        raise OutputError(error.strerror or str(error)) from error


class _Closed(io.RawIOBase):
    """The raw stream for a standard stream that was closed when the process began."""

    def __init__(self, number: int) -> None:
        self._number = number

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def write(self, _: Any) -> int:
        raise OSError(errno.EBADF, "it is closed")


def _over(stream: Any, number: int, kind: type[_Progress]) -> Any:
    """Returns the text stream that replaces a standard stream; one that a program has set itself stays."""
    if stream is None:
        return io.TextIOWrapper(kind(_Closed(number)), encoding="utf-8", errors="backslashreplace")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    return io.TextIOWrapper(
        kind(cast("io.RawIOBase", getattr(stream.buffer, "raw", stream.buffer))),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
