"""Standard streams that are closed, full or gone: progress is lost in silence, and lost results are an error."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lrtrain.errors import LrtrainError

_ELSEWHERE = "send it to where it can be, as with > FILE"


class OutputError(LrtrainError):
    """Standard output, where the results of a command go, cannot be written."""

    def __init__(self, reason: str, advice: str = _ELSEWHERE) -> None:
        super().__init__(f"standard output cannot be written ({reason}): {advice}")
        self.reason = reason


def guard_streams() -> None:
    """Lets a write to standard error never raise, and one to standard output raise `OutputError`; before all else."""
    # A file that is opened later would get the number of a closed one, and what libraries print would be written to it.
    closed = {number for number in range(3) if not _is_open(number)}
    for number in sorted(closed):
        _open_nowhere(number)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # as long as the process
    sys.stdout = _over(sys.stdout, 1, _Results)
    sys.stderr = _over(sys.stderr, 2, _Progress)


@contextmanager
def results_kept(where: str) -> Iterator[None]:
    """Has the error for results that cannot be printed say where they are, or what has been done."""
    try:
        yield
    except OutputError as error:
        raise OutputError(error.reason, where) from error


class _Stream(io.RawIOBase):
    """Writes to another stream; None is one that was closed."""

    def __init__(self, number: int, inner: Any) -> None:
        self._number, self._inner = number, inner

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number if self._inner is None else int(self._inner.fileno())

    def isatty(self) -> bool:
        return self._inner is not None and bool(self._inner.isatty())

    def _write(self, data: Any) -> int:
        if self._inner is None:
            raise OSError(errno.EBADF, "it is closed")
        written: int | None = self._inner.write(data)
        if written is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return written


class _Progress(_Stream):
    """Drops what cannot be written."""

    def write(self, data: Any) -> int:
        try:
            return self._write(data)
        except OSError:
            return len(data)


class _Results(_Stream):
    """Raises once, and drops what comes then: Python writes what it has kept when it ends."""

    _lost = False

    def write(self, data: Any) -> int:
        if self._lost:
            return len(data)
        try:
            return self._write(data)
        except BrokenPipeError:
            self._lost = True
            raise
        except OSError as error:
            self._lost = True
            raise OutputError(error.strerror or str(error)) from error


def _over(stream: Any, number: int, kind: type[_Stream]) -> Any:
    """Returns the text stream in whose place it is; what a program has put there itself stays."""
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(kind(number, None)), encoding="utf-8", errors="backslashreplace")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    raw = kind(number, getattr(stream.buffer, "raw", stream.buffer))
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _open_nowhere(number: int) -> None:
    handle = os.open(os.devnull, os.O_RDWR)
    if handle == number:
        os.set_inheritable(handle, True)
        return
    os.dup2(handle, number)
    os.close(handle)
