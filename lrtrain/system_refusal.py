"""What the system refuses at the moment (files, rights, memory, a disk), found in the error of a library."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import NoReturn

from lrtrain.errors import TrainingError

# All are over once their cause is gone. That a file is not there, or is a directory, says something of what is stored.
_NUMBERS = (
    errno.EMFILE,
    errno.ENFILE,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOMEM,
    errno.ESTALE,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EFBIG,
    errno.ETIMEDOUT,
    errno.ENODEV,
    errno.ENXIO,
    errno.ENOTCONN,
    errno.EHOSTDOWN,
    errno.EAGAIN,
)
_TEXTS = tuple(os.strerror(number) for number in _NUMBERS)
# As Tensorstore and JAX say it; Python says it where it can start no thread.
_OF_LIBRARIES = ("RESOURCE_EXHAUSTED", "can't start new thread")
_BLOCK = 2**20
# More than a checkpoint has been seen to need at once.
_FILES = 48


def refusal(error: BaseException) -> str | None:
    """Returns what the system has refused, in its own words, if that has caused an error; its causes are searched."""
    said = _said(error)
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return refusal(earlier) if said is None and earlier is not None else said


def refusal_to_read(directory: Path) -> str | None:
    """Returns what the system says if it does not let some file below a directory be read; None if all can be read."""
    try:
        for folder, _, names in os.walk(directory, onerror=_raise):
            for name in names:
                _read(Path(folder, name))
    except OSError as error:
        return refusal(error)
    return None


def check_files() -> None:
    """Raises TrainingError when the system does not let this process open as many files as checkpoints need.

    Otherwise any library may be the one that is refused, at any moment, and each makes something else of it.
    """
    with contextlib.ExitStack() as opened:
        for count in range(_FILES):
            try:
                opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
            except OSError as error:
                raise TrainingError(
                    f"only {count} more files can be opened ({error.strerror}), and training needs {_FILES}: allow "
                    "more, as with `ulimit -n 1024`"
                ) from error


def _read(path: Path) -> None:
    with path.open("rb") as file:
        while file.read(_BLOCK):
            pass


def _raise(error: OSError) -> NoReturn:
    raise error


def _said(error: BaseException) -> str | None:
    if isinstance(error, MemoryError):
        return os.strerror(errno.ENOMEM)
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno) if error.errno in _NUMBERS else None
    text = str(error)
    return next((each for each in (*_TEXTS, *_OF_LIBRARIES) if each in text), None)
