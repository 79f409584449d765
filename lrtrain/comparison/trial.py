"""A trial, which is a run of a comparison, and its outcome."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from lrtrain.strict_json import InvalidFileError, Whole, decode

Stage: TypeAlias = Literal["tune", "measure"]
TrialState: TypeAlias = Literal["finished", "stopped", "diverged", "failed"]


@dataclass(frozen=True)
class Trial:
    """A run of a comparison.

    Args:
      stage: ``"tune"`` for finding the scale of a schedule, ``"measure"`` for what is reported.
      label: the label of the schedule.
      scale: the factor on its learning rates.
      seed: the seed of the initial parameters and of the order of the examples.
    """

    stage: Stage
    label: str
    scale: float
    seed: Whole

    def directory(self, index: int) -> str:
        """Returns the name of its directory; ``index`` distinguishes schedules whose labels give the same name."""
        name = re.sub(r"[^a-z0-9]+", "-", self.label.lower()).strip("-")[:40]
        return f"{self.stage}-{index + 1:02}-{name}-x{self.scale:g}-seed{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a trial.

    Args:
      trial: the trial.
      state: ``"stopped"`` when a hook ended it early, ``"diverged"`` when a loss was not finite, ``"failed"`` when its
        plugin raised.
      reason: why it ended, for all states but ``"finished"``.
      steps: the number of optimizer updates done.
      validation_loss: mean cross-entropy after the last step; None if it diverged or failed, as are the next three.
      validation_accuracy: share that is classified right, 0 to 1.
      test_loss: the loss on the test set; None where the test set was not used.
      test_accuracy: the accuracy on the test set; None where the test set was not used.
      rates: the first, highest and last learning rate of its table, scale included.
      seconds: the time that its wave took, divided by the number of trials in it.
    """

    trial: Trial
    state: TrialState
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
        """Whether it has a loss and an accuracy."""
        return self.validation_loss is not None

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as JSON holds them."""
        return {**vars(self), "trial": vars(self.trial)}

    @classmethod
    def from_json(cls, values: Any, title: str = "outcome.json") -> Outcome:
        """Returns what `to_json` wrote; raises InvalidFileError when the values are not those of an outcome."""
        outcome = decode(values, cls, title)
        if not 0 < outcome.trial.scale < math.inf:
            raise InvalidFileError(f"{title}: trial.scale is refused: expected a number above 0")
        return outcome
