"""Curves of runs, read from their files: what pictures and pages draw."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.comparison.store import Store
from lrtrain.errors import RunDirError
from lrtrain.runs.reading import applied_learning_rates, read_run
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
            found.append(curves_of_runs(row.label, [_measured(path) for path in places]))
    return found


def _measured(path: Path) -> Run:
    run = read_run(path)
    if not run.epochs or run.state == "damaged":
        raise RunDirError(f"the run in {path} is damaged: {run.reason or 'it has no epoch'}")
    return run


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
        np.array(applied_learning_rates(longest.path)),
        longest.epochs[0].step,
    )


def quartiles(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns the lower quartile, the median and the upper quartile of runs, each float64[epochs]; NaN of none.

    Args:
      values: float64[runs, epochs]; NaN is left out.
    """
    with warnings.catch_warnings():
        # Of an epoch at which no run has a number.
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        low, middle, high = np.nanpercentile(values, (25, 50, 75), axis=0)
    return low, middle, high
