"""The events of a run for its observer: the command line draws them, and a program may define its own reporter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from lrtrain.plugins.context import EpochInfo, RunInfo, StepInfo


@dataclass(frozen=True)
class Begin:
    """A run that is about to train.

    Args:
      run: the run.
      step: the update it begins with; over 0 when it is resumed.
      devices: the devices in words, such as ``2 x cpu``.
      examples: training examples and test examples.
      note: what a user should know about how it begins.
      validation: validation examples that the epochs are measured on; None where the test set stands for them.
    """

    run: RunInfo
    step: int
    devices: str
    examples: tuple[int, int]
    note: str | None = None
    validation: int | None = None


class Reporter(Protocol):
    """Receives the events of a run, in order, on the thread that trains; each method should return at once."""

    def phase(self, text: str) -> None:
        """A phase that takes some time begins, such as loading data."""

    def begin(self, begin: Begin) -> None:
        """Training begins."""

    def stepped(self, step: StepInfo, examples_per_second: float) -> None:
        """A portion of updates is done; ``step`` is its last one."""

    def epoch_ended(self, epoch: EpochInfo, examples_per_second: float) -> None:
        """An epoch is done and evaluated."""


def does_nothing(*_: Any, **__: Any) -> None:
    """Does nothing; stands for any method of a reporter."""


class NullReporter(Reporter):
    """A reporter that ignores all events; other reporters inherit the methods that they do not define."""

    phase = begin = stepped = epoch_ended = staticmethod(does_nothing)
