"""A run as its files show it, as typed values."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from lrtrain.plugins.context import EpochInfo
from lrtrain.plugins.spec import Spec
from lrtrain.runs.train_config import TrainConfig
from lrtrain.workloads.headline import ACCURACY, Headline, noted

State: TypeAlias = Literal["finished", "stopped", "diverged", "failed", "interrupted", "running", "damaged"]
Epoch: TypeAlias = EpochInfo


@dataclass(frozen=True)
class Head:
    """The configuration of a run, from ``config.json``.

    Args:
      plugins: the plugins with all options.
      schedule: the one of them that builds the schedule.
      whole_schedule: whether that schedule covers the whole run; False after ``--on-schedule-change``.
      train: the options of training.
      total_steps: optimizer updates in the whole run.
      versions: versions by the name of the distribution.
      devices: the devices in words, such as ``2 x cpu``.
      resumed: the steps at which the run was resumed.
      comparison: the run's part in a comparison; None for a run outside of one.
      started: the time at which the run began; None if that is not known.
      values: all values in the file.
      headline: the number that the run is judged by.
    """

    plugins: tuple[Spec, ...]
    schedule: Spec
    whole_schedule: bool
    train: TrainConfig
    total_steps: int
    versions: Mapping[str, str]
    devices: str
    resumed: tuple[int, ...]
    comparison: Mapping[str, Any] | None
    started: datetime.datetime | None
    values: Mapping[str, Any] = field(repr=False)
    headline: Headline = ACCURACY


@dataclass(frozen=True)
class Run:
    """A run as its files show it.

    Args:
      path: its directory.
      name: its directory relative to the one that was searched, with ``/`` between parts.
      state: ``"finished"``: all epochs are done; ``"stopped"`` by a plugin; ``"diverged"``: a loss was not finite;
        ``"failed"``: its plugin raised, in a comparison; ``"interrupted"``: epochs are missing; ``"running"``: a
        process is writing to it; ``"damaged"``: its files cannot be read, or do not agree.
      reason: why it is in that state, and for an interrupted run whether it can be resumed; None when it is finished.
      head: its configuration; None when that cannot be read.
      epochs: the epochs that are done and can be read.
      steps: the number of optimizer updates in ``steps.csv``.
      peak_learning_rate: the highest learning rate applied so far.
      size: the size of its files, in bytes.
    """

    path: Path
    name: str
    state: State
    reason: str | None
    head: Head | None
    epochs: tuple[Epoch, ...]
    steps: int
    peak_learning_rate: float | None
    size: int

    @property
    def last(self) -> Epoch | None:
        """The last epoch that is done."""
        return self.epochs[-1] if self.epochs else None

    @property
    def headline(self) -> Headline:
        """The number that it is judged by; where its configuration cannot be read, its accuracy or else its loss."""
        if self.head is not None:
            return self.head.headline
        return Headline() if self.last is not None and math.isnan(self.last.accuracy) else ACCURACY

    @property
    def score(self) -> float:
        """The headline after the last epoch that is done; NaN where there is none."""
        return self.last.value(self.headline.name) if self.last else math.nan

    @property
    def seconds(self) -> float:
        """Time for training and evaluating all epochs, those before a resume included."""
        return sum(epoch.seconds for epoch in self.epochs)

    def to_json(self) -> dict[str, Any]:
        """Returns the values that a listing shows; `finite` makes them valid JSON."""
        head, last = self.head, self.last
        return {
            "name": self.name,
            "path": str(self.path),
            "state": self.state,
            "reason": self.reason,
            "plugin": str(head.schedule) if head else None,
            "plugins": [spec.table() for spec in head.plugins] if head else [],
            "epochs": len(self.epochs),
            "planned_epochs": head.train.epochs if head else None,
            "accuracy": last.accuracy if last and not math.isnan(last.accuracy) else None,
            "loss": last.loss if last else None,
            "measured_on": last.measured_on if last else None,
            "peak_learning_rate": self.peak_learning_rate,
            "started": head.started.isoformat() if head and head.started else None,
            "seconds": round(self.seconds, 3),
            "bytes": self.size,
            **({"headline": {**vars(self.headline), "value": self.score}} if noted(self.headline) else {}),
        }


def finite(value: Any) -> Any:
    """Returns a value as JSON can hold it: each number in it that is not finite becomes None."""
    if isinstance(value, Mapping):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
