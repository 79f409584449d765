"""Curves of runs, read from their files: what pictures and pages draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.comparison.store import Store
from lrtrain.runs.directory import RunDir
from lrtrain.runs.reading import read_run
from lrtrain.runs.record import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lrtrain.comparison.result import Comparison


@dataclass(frozen=True, eq=False)
class Curves:
    """The runs of one schedule, side by side.

    Args:
      label: the schedule.
      measured_on: the examples that losses and accuracies come from, ``"test"`` or ``"validation"``.
      steps: int64[epochs], optimizer updates done at the end of each epoch.
      losses: float64[runs, epochs], mean cross-entropy; NaN where a run had ended before.
      accuracies: float64[runs, epochs], share classified right, 0 to 1; NaN as above.
      learning_rates: float64[steps], as applied in the first of the runs that went on to its end.
      steps_per_epoch: optimizer updates in an epoch.
    """

    label: str
    measured_on: str
    steps: NDArray[np.int64]
    losses: NDArray[np.float64]
    accuracies: NDArray[np.float64]
    learning_rates: NDArray[np.float64]
    steps_per_epoch: int

    @property
    def epochs(self) -> int:
        """Epochs of the longest run."""
        return len(self.steps)


def curves_of_comparison(comparison: Comparison) -> list[Curves]:
    """Returns the curves of the runs that are reported, for every schedule that has any, in the order of the plan."""
    store, found = Store(comparison.directory), []
    for index, row in enumerate(comparison.plan.rows):
        places = [
            store.path / "runs" / outcome.trial.directory(index)
            for outcome in comparison.measured(row.label)
            if outcome.measured
        ]
        if places:
            found.append(curves_of_runs(row.label, [read_run(path) for path in places]))
    return found


def curves_of_runs(label: str, runs: Sequence[Run]) -> Curves:
    """Returns the curves of runs that belong together; each has at least one epoch.

    Args:
      label: what they are called.
      runs: runs of equal length, or that ended early.
    """
    longest = max(runs, key=lambda run: len(run.epochs))
    epochs = len(longest.epochs)
    losses, accuracies = np.full((2, len(runs), epochs), np.nan)
    for row, run in enumerate(runs):
        losses[row, : len(run.epochs)] = [epoch.loss for epoch in run.epochs]
        accuracies[row, : len(run.epochs)] = [epoch.accuracy for epoch in run.epochs]
    return Curves(
        label,
        longest.epochs[-1].measured_on,
        np.array([epoch.step for epoch in longest.epochs]),
        losses,
        accuracies,
        learning_rates(longest.path),
        longest.epochs[0].step,
    )


def learning_rates(path: Path) -> NDArray[np.float64]:
    """Returns the learning rates that a run has applied, float64[steps], without a torn last line."""
    lines = RunDir(path).steps.read_text(encoding="utf-8").split("\n")[1:-1]
    return np.array([float(line.split(",")[2]) for line in lines])
