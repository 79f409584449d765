"""What pictures and pages draw: curves read from the files of runs, and the numbers of a comparison as tables."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.comparison import protocol
from lrtrain.comparison.store import Store
from lrtrain.errors import RunDirError
from lrtrain.runs.reading import Logged, read_logged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lrtrain.comparison.evidence import RowResult
    from lrtrain.comparison.result import Comparison
    from lrtrain.workloads.headline import Headline

# The least span of the colours of differences, in the unit of the headline.
FINE = 0.00005
_ROOM = 34


@dataclass(frozen=True, eq=False)
class Curves:
    """The runs of one schedule, side by side.

    Args:
      label: the schedule.
      measured_on: the examples that losses and scores come from, ``"test"`` or ``"validation"``.
      steps: int64[epochs], optimizer updates done at the end of each epoch.
      losses: float64[runs, epochs], mean loss; NaN where a run had ended before.
      scores: float64[runs, epochs], the headline; NaN as above.
      learning_rates: float64[steps], as applied in the first of the runs that went on to its end.
    """

    label: str
    measured_on: str
    steps: NDArray[np.int64]
    losses: NDArray[np.float64]
    scores: NDArray[np.float64]
    learning_rates: NDArray[np.float64]


def measured_runs(comparison: Comparison) -> dict[str, list[Logged]]:
    """Reads the runs that are reported and have an epoch, by schedule in the order of the plan.

    Raises:
      RunDirError: one of them is damaged.
    """
    store, plan = Store(comparison.directory), comparison.plan
    found: dict[str, list[Logged]] = {}
    for row in plan.rows:
        read = [_measured(store.place(plan, each.trial)) for each in comparison.measured(row.label) if each.measured]
        # One that a hook stopped within its first epoch has none.
        if shown := [each for each in read if each.run.epochs]:
            found[row.label] = shown
    return found


def _measured(path: Path) -> Logged:
    read = read_logged(path, path.name)
    if read.run.state == "damaged" or not (read.run.epochs or read.run.state == "stopped"):
        raise RunDirError(f"the run in {path} is damaged: {read.run.reason or 'it has no epoch'}")
    return read


def curves_of_runs(label: str, read: Sequence[Logged], headline: Headline) -> Curves:
    """Returns the curves of runs that belong together, each with an epoch at least; some may have ended early."""
    longest = max(read, key=lambda each: len(each.run.epochs))
    epochs = longest.run.epochs
    losses, scores = np.full((2, len(read), len(epochs)), np.nan)
    for row, each in enumerate(read):
        losses[row, : len(each.run.epochs)] = [epoch.loss for epoch in each.run.epochs]
        scores[row, : len(each.run.epochs)] = [epoch.value(headline.name) for epoch in each.run.epochs]
    steps, rates = np.array([epoch.step for epoch in epochs]), np.array(longest.learning_rates)
    return Curves(label, epochs[-1].measured_on, steps, losses, scores, rates)


def quartiles(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns lower quartile, median and upper quartile of float64[runs, epochs] without NaN, each float64[epochs]."""
    with warnings.catch_warnings():
        # Of an epoch at which no run has a number.
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        low, middle, high = np.nanpercentile(values, (25, 50, 75), axis=0)
    return low, middle, high


@dataclass(frozen=True, eq=False)
class Tuning:
    """What the tuning of one schedule has seen.

    Args:
      label: the schedule.
      scales: float64[scales], factors on its learning rates, ascending.
      losses: float64[scales, seeds], validation loss after the last step; NaN where a run diverged or failed.
      scores: float64[scales, seeds], the headline on the same examples; NaN as above.
      chosen: the scale that was chosen.
    """

    label: str
    scales: NDArray[np.float64]
    losses: NDArray[np.float64]
    scores: NDArray[np.float64]
    chosen: float


@dataclass(frozen=True, eq=False)
class Differences:
    """Every schedule against every other.

    Args:
      labels: the schedules, best mean first.
      means: float64[schedules, schedules], headline of the row less that of the column, mean over the seeds on which
        both have a result; NaN where there is none, and on the diagonal.
      concluded: the pairs of which better or worse was concluded.
    """

    labels: tuple[str, ...]
    means: NDArray[np.float64]
    concluded: frozenset[frozenset[str]]

    def star(self, row: int, column: int) -> str:
        """Returns what marks a pair of which better or worse was concluded; empty for any other."""
        return " *" if {self.labels[row], self.labels[column]} in self.concluded else ""


def final_scores(comparison: Comparison) -> dict[str, NDArray[np.float64]]:
    """Returns the headline that counts, float64[seeds], for every schedule; NaN for a run without a result."""
    name = comparison.headline.name
    return {
        row.label: np.array([outcome.value(name) for outcome in comparison.measured(row.label)])
        for row in comparison.plan.rows
    }


def tunings(comparison: Comparison) -> list[Tuning]:
    """Returns what the tuning has seen; nothing where there was none."""
    found = [outcome for outcome in comparison.outcomes if outcome.trial.stage == "tune" and outcome.measured]
    seeds = protocol.tuning_seeds(comparison.plan)
    results = []
    for label, tuned in comparison.tuned.items():
        scales = sorted(tuned.losses)
        losses, scores = np.full((2, len(scales), len(seeds)), np.nan)
        for outcome in found:
            trial = outcome.trial
            if trial.label == label and trial.scale in scales and trial.seed in seeds:
                place = scales.index(trial.scale), seeds.index(trial.seed)
                losses[place], scores[place] = outcome.validation("loss"), outcome.validation(comparison.headline.name)
        results.append(Tuning(label, np.array(scales), losses, scores, tuned.best))
    return results


def differences(comparison: Comparison) -> Differences:
    """Returns the paired differences of all schedules."""
    finals = final_scores(comparison)
    labels = tuple(row.label for row in by_score(comparison) if np.isfinite(finals[row.label]).any())
    means = np.full((len(labels), len(labels)), np.nan)
    for i, first in enumerate(labels):
        for j, second in enumerate(labels):
            both = finals[first] - finals[second]
            if i != j and np.isfinite(both).any():
                means[i, j] = np.nanmean(both)
    pairs = comparison.evidence.differences
    return Differences(labels, means, frozenset({frozenset((p.first, p.second)) for p in pairs if p.verdict != "tie"}))


def by_score(comparison: Comparison) -> list[RowResult]:
    """Returns the rows with the best mean of the headline first; those without a result come last, in their order."""
    return sorted(comparison.evidence.rows, key=lambda row: comparison.headline.rank(row.score.mean))


def short_name(label: str) -> str:
    """Returns a label, cut in the middle where it is long: the beginning says which plugin, the end which variant."""
    if len(label) <= _ROOM:
        return label
    half = (_ROOM - 3) // 2
    return f"{label[:half]} ... {label[-half:]}"
