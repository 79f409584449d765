"""A trial, which is a run of a comparison, and its outcome."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
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
      validation_loss: mean loss after the last step; None if it diverged or failed, as are the next three.
      validation_accuracy: share that is classified right, 0 to 1; None where the workload has no accuracy.
      test_loss: the loss on the test set; None where the test set was not used.
      test_accuracy: the accuracy on the test set; None where the test set was not used.
      rates: the first, highest and last learning rate of its table, scale included.
      seconds: the time that its wave took, divided by the number of trials in it.
      validation_metrics: the workload's other metrics, by name.
      test_metrics: those on the test set.
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
    validation_metrics: dict[str, float] = field(default_factory=dict, hash=False)
    test_metrics: dict[str, float] = field(default_factory=dict, hash=False)

    @classmethod
    def of(  # noqa: PLR0913, PLR0917  # its fields, but that the measures are together
        cls,
        trial: Trial,
        state: TrialState,
        reason: str | None,
        steps: int,
        validation: Mapping[str, float] | None,
        test: Mapping[str, float] | None,
        rates: tuple[float, float, float],
        seconds: float,
    ) -> Outcome:
        """Returns the outcome with these measures, by name; None where there are none."""
        (loss, accuracy, others), (test_loss, test_accuracy, test_others) = map(_parted, (validation, test))
        measures = (loss, accuracy, test_loss, test_accuracy)
        return cls(trial, state, reason, steps, *measures, rates, seconds, others, test_others)

    def value(self, name: str) -> float:
        """Returns a measure that is reported: on the test set where that was used; NaN where there is none."""
        if self.test_loss is None:
            return self.validation(name)
        return _named(name, self.test_loss, self.test_accuracy, self.test_metrics)

    def validation(self, name: str) -> float:
        """Returns a measure of the validation examples; NaN where there is none."""
        return _named(name, self.validation_loss, self.validation_accuracy, self.validation_metrics)

    @property
    def measured(self) -> bool:
        """Whether it has a loss and metrics."""
        return self.validation_loss is not None

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as JSON holds them."""
        values = {**vars(self), "trial": vars(self.trial)}
        return {name: value for name, value in values.items() if value != {}}

    @classmethod
    def from_json(cls, values: Any, title: str = "outcome.json") -> Outcome:
        """Returns what `to_json` wrote; raises InvalidFileError when the values are not those of an outcome."""
        outcome = decode(values, cls, title)
        if not 0 < outcome.trial.scale < math.inf:
            raise InvalidFileError(f"{title}: trial.scale is refused: expected a number above 0")
        return outcome


def _named(name: str, loss: float | None, accuracy: float | None, metrics: Mapping[str, float]) -> float:
    value = {"loss": loss, "accuracy": accuracy, **metrics}.get(name)
    return math.nan if value is None else value


def _parted(means: Mapping[str, float] | None) -> tuple[float | None, float | None, dict[str, float]]:
    """Returns the loss, the accuracy and the other metrics."""
    others = dict(means or {})
    return others.pop("loss", None), others.pop("accuracy", None), others
