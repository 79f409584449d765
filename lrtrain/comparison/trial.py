"""One run of a comparison: what is trained, and what came of it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from lrtrain.strict_json import InvalidFileError, Whole, decode

Stage: TypeAlias = Literal["tune", "measure"]
State: TypeAlias = Literal["finished", "stopped", "diverged", "failed"]


@dataclass(frozen=True)
class Trial:
    """A run that is to be trained.

    Args:
      stage: ``"tune"`` for finding a schedule's scale, ``"measure"`` for what is reported.
      label: the schedule.
      scale: factor on its learning rates.
      seed: decides the initial parameters and the order of the examples.
    """

    stage: Stage
    label: str
    scale: float
    seed: Whole

    def directory(self, index: int) -> str:
        """Returns a name for its directory; ``index`` tells schedules apart whose labels give the same name."""
        name = re.sub(r"[^a-z0-9]+", "-", self.label.lower()).strip("-")[:40]
        return f"{self.stage}-{index + 1:02}-{name}-x{self.scale:g}-seed{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What has come of a run.

    Args:
      trial: the run.
      state: ``"stopped"`` when a hook ended it early, ``"diverged"`` when a loss was not finite, ``"failed"`` when its
        plugin raised.
      reason: why, for all but ``"finished"``.
      steps: optimizer updates done.
      validation_loss: mean cross-entropy after the last step; None if it diverged or failed, as are the next three.
      validation_accuracy: share that is classified right, 0 to 1.
      test_loss: the same on the test set, where it has been looked at.
      test_accuracy: the same on the test set, where it has been looked at.
      rates: first, highest and last learning rate that was planned, scale included.
      seconds: its share of the time that it and the runs beside it took.
    """

    trial: Trial
    state: State
    reason: str | None
    steps: Whole
    validation_loss: float | None
    validation_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    rates: tuple[float, float, float] | None
    seconds: float

    @property
    def measured(self) -> bool:
        """Whether it has a result."""
        return self.validation_loss is not None

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as JSON holds them."""
        return {**vars(self), "trial": vars(self.trial)}

    @classmethod
    def from_json(cls, values: Any, title: str = "outcome.json") -> Outcome:
        """Returns what `to_json` has returned; raises InvalidFileError when it is not that."""
        outcome = decode(values, cls, title)
        if not 0 < outcome.trial.scale < math.inf:
            raise InvalidFileError(f"{title}: trial.scale is refused: expected a number above 0")
        return outcome
