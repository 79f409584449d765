"""What a comparison tells while it goes on, and to whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lrtrain.comparison.plan import Plan
from lrtrain.comparison.trial import Outcome
from lrtrain.training.reporter import does_nothing

if TYPE_CHECKING:
    from lrtrain.comparison.protocol import Tuned


@dataclass(frozen=True)
class Forecast:
    """What a comparison is about to cost.

    Args:
      tuning: runs of the tuning, should no grid be extended.
      measuring: runs of the measurement.
      done: runs that are done already.
      width: runs that train at once.
      seconds: the time that the rest will take, from a measured step.
      directory: where it is kept.
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
        """Something that takes a while begins, such as loading data."""

    def planned(self, plan: Plan, forecast: Forecast) -> None:
        """Training begins."""

    def noted(self, text: str) -> None:
        """Something that the user should know of, such as work that was lost."""

    def stepped(self, steps: int) -> None:
        """The runs that train at the moment have each done so many steps more."""

    def finished(self, outcome: Outcome, done: int, total: int) -> None:
        """A run is done."""

    def tuned(self, tuned: Mapping[str, Tuned], reference: str) -> None:
        """The tuning is complete; ``reference`` is what the others will be measured against."""


class Silent(CompareReporter):
    """A reporter that tells nothing; one that tells something inherits what it does not define."""

    phase = planned = noted = stepped = finished = tuned = staticmethod(does_nothing)
