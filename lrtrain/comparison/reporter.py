"""The reporter of a comparison: what it is told while trials are trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lrtrain.comparison.plan import Plan
from lrtrain.comparison.protocol import Standing
from lrtrain.comparison.trial import Outcome
from lrtrain.training.reporter import does_nothing


@dataclass(frozen=True)
class Forecast:
    """What a comparison will cost.

    Args:
      tuning: the number of trials of the tuning, if no grid is extended.
      measuring: the number of trials of the measurement.
      done: the number of trials that are done.
      width: the number of trials that train at once.
      seconds: the time that the remaining trials will take, estimated from a measured step.
      directory: the directory of the comparison.
    """

    tuning: int
    measuring: int
    done: int
    width: int
    seconds: float
    directory: Path


class CompareReporter(Protocol):
    """Receives what happens in a comparison, in order, on the thread that trains."""

    def phase(self, text: str) -> None:
        """A phase that takes a while begins, such as loading data."""

    def planned(self, plan: Plan, forecast: Forecast) -> None:
        """Training begins."""

    def noted(self, text: str) -> None:
        """There is something that the user should know, such as lost work."""

    def stepped(self, steps: int) -> None:
        """Each trial of the wave has done ``steps`` more steps."""

    def finished(self, outcome: Outcome, done: int, total: int) -> None:
        """A trial is done; it is number ``done`` of ``total``."""

    def tuned(self, standing: Standing) -> None:
        """The tuning is complete: the scales, the reference and the margins are fixed."""


class NullReporter(CompareReporter):
    """A reporter that tells nothing; one that tells something inherits what it does not define."""

    phase = planned = noted = stepped = finished = tuned = staticmethod(does_nothing)
