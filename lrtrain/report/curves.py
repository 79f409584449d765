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
from lrtrain.runs.reading import Logged, read_logged

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


def measured_runs(comparison: Comparison) -> dict[str, list[Logged]]:
    """Reads the runs that are reported and have an epoch, those of each schedule with any, in the order of the plan.

    Raises:
      RunDirError: one of them is damaged.
    """
    store, plan = Store(comparison.directory), comparison.plan
    places = {
        row.label: [store.place(plan, each.trial) for each in comparison.measured(row.label) if each.measured]
        for row in plan.rows
    }
    read = {label: [_measured(path) for path in paths] for label, paths in places.items()}
    # One that a hook stopped within its first epoch has none.
    shown = {label: [each for each in runs if each.run.epochs] for label, runs in read.items()}
    return {label: runs for label, runs in shown.items() if runs}


def _measured(path: Path) -> Logged:
    read = read_logged(path, path.name)
    if read.run.state == "damaged" or not (read.run.epochs or read.run.state == "stopped"):
        raise RunDirError(f"the run in {path} is damaged: {read.run.reason or 'it has no epoch'}")
    return read


def curves_of_runs(label: str, read: Sequence[Logged]) -> Curves:
    """Returns the curves of runs that belong together; each has at least one epoch.

    Args:
      label: what they are called.
      read: runs of equal length, or that ended early.
    """
    runs = [each.run for each in read]
    at = max(range(len(runs)), key=lambda index: len(runs[index].epochs))
    longest = runs[at]
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
        np.array(read[at].learning_rates),
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
