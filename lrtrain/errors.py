"""Errors that a user is told in one sentence; anything else that is raised is a bug of lrtrain."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LrtrainError(Exception):
    """A run that failed: its message is one sentence for the user, and the command ends with exit code 1."""

    exit_code = 1


class UsageError(LrtrainError):
    """Something the user asked for cannot be done as asked: exit code 2, nothing written.

    Args:
      message: one sentence: what was wrong, with the value, and what would be right.
      key: the name of the wrong option (``epochs``), for whoever can say where it was written.
    """

    exit_code = 2

    def __init__(self, message: str = "", *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class SpecError(UsageError, ValueError):
    """The text of a spec or a duration does not follow the grammar; for pydantic, a value that is refused."""


class PluginError(UsageError):
    """A plugin cannot be found, imported or used."""


class OptionError(UsageError):
    """An option of a plugin is unknown, of the wrong type or out of range."""


class ScheduleError(UsageError):
    """A schedule cannot be built or gives a value that no run can use."""


class DataError(UsageError):
    """A data set is unknown, not prepared, damaged, or not what is asked of it."""


class ModelError(UsageError):
    """A model cannot be found or does not fit the data."""


class RunDirError(UsageError):
    """A run directory is not empty, or has nothing to resume, or holds a run of another configuration."""


class TrainingError(LrtrainError):
    """Training had to stop: a loss that is not finite, or a plugin that raised in the middle of a run."""


def cause(error: BaseException) -> str:
    """Returns the type of an error that is not ours and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def nearest(name: object, known: Iterable[str]) -> str:
    """Returns `` (did you mean 'sgdr'?)`` for the nearest of ``known``, or nothing when none is near."""
    match = difflib.get_close_matches(name, list(known), n=1) if isinstance(name, str) else []
    return f" (did you mean '{match[0]}'?)" if match else ""
