"""What pictures and pages draw: curves read from the files of runs, and the numbers of a comparison as tables."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.comparison.store import Store
from lrtrain.comparison.tuning import cliffs
from lrtrain.errors import RunDirError
from lrtrain.runs.reading import Logged, read_logged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lrtrain.comparison.evidence import Evidence, RowResult
    from lrtrain.comparison.result import Comparison
    from lrtrain.comparison.trial import Outcome
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
      rates: float64[scales], the highest learning rate at each scale that was tried, ascending.
      losses: float64[scales, runs], validation loss after the last step; NaN where there was no run, or none with a
        result.
      scores: float64[scales, runs], the headline on the same examples; NaN as above.
      failed: bool[scales], whether a run had no result, or the mean of them is far off.
      chosen: the highest learning rate at the scale that was chosen.
    """

    label: str
    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    scores: NDArray[np.float64]
    failed: NDArray[np.bool_]
    chosen: float

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the mean of float64[scales, runs] at each scale; NaN where that scale has failed."""
        counts = np.isfinite(values).sum(axis=1)
        sums = np.nansum(values, axis=1)
        means: NDArray[np.float64] = np.full(len(counts), np.nan)
        np.divide(sums, counts, out=means, where=(counts > 0) & ~self.failed)
        return means


@dataclass(frozen=True, eq=False)
class Differences:
    """Every schedule against every other.

    Args:
      labels: the schedules, best mean first.
      means: float64[schedules, schedules], headline of the row less that of the column, mean over the seeds on which
        both have a result; NaN where there is none, and on the diagonal.
      concluded: the pairs of which better or worse was concluded.
      tested: the pairs that were tested.
    """

    labels: tuple[str, ...]
    means: NDArray[np.float64]
    concluded: frozenset[frozenset[str]]
    tested: frozenset[frozenset[str]]

    def mark(self, row: int, column: int) -> str:
        """Returns what marks a pair: a star where better or worse was concluded, a dot where it was not tested."""
        pair = {self.labels[row], self.labels[column]}
        return " *" if pair in self.concluded else "" if pair in self.tested else " ·"


def final_scores(comparison: Comparison) -> dict[str, NDArray[np.float64]]:
    """Returns the headline that counts, float64[seeds], for every schedule; NaN for a run without a result."""
    name = comparison.headline.name
    return {
        row.label: np.array([outcome.value(name) for outcome in comparison.measured(row.label)])
        for row in comparison.plan.rows
    }


def tunings(comparison: Comparison) -> list[Tuning]:
    """Returns what the tuning has seen of each schedule that has learning rates; nothing where there was none."""
    found: dict[str, dict[float, list[Outcome]]] = {}
    for outcome in comparison.outcomes:
        trial = outcome.trial
        if trial.stage == "tune" and outcome.rates and trial.scale in comparison.tuned[trial.label].costs:
            found.setdefault(trial.label, {}).setdefault(trial.scale, []).append(outcome)
    return [
        _tuning(comparison, label, [found[label][scale] for scale in sorted(found[label])])
        for label in comparison.tuned
        if label in found
    ]


def _tuning(comparison: Comparison, label: str, runs: Sequence[Sequence[Outcome]]) -> Tuning:
    """Returns what the tuning of a schedule has seen, given its outcomes at each scale, in ascending order."""
    losses, scores = np.full((2, len(runs), max(map(len, runs))), np.nan)
    for at, each in enumerate(runs):
        losses[at, : len(each)] = [outcome.validation("loss") for outcome in each]
        scores[at, : len(each)] = [outcome.validation(comparison.headline.name) for outcome in each]
    off = cliffs(comparison.tuned[label].costs)
    failed = np.array([each[0].trial.scale in off for each in runs])
    first = runs[0][0]
    of_one = (first.rates or (0.0, 0.0, 0.0))[1] / first.trial.scale
    rates = of_one * np.array([each[0].trial.scale for each in runs])
    return Tuning(label, rates, losses, scores, failed, of_one * comparison.tuned[label].best)


def differences(evidence: Evidence, results: Mapping[str, Sequence[float]]) -> Differences:
    """Returns the paired differences of all schedules, given the results that are judged, seed by seed."""
    labels = tuple(row.label for row in by_score(evidence) if math.isfinite(row.score.mean))
    means = np.full((len(labels), len(labels)), np.nan)
    for i, first in enumerate(labels):
        for j, second in enumerate(labels):
            # One that was decided early has fewer seeds.
            both = [one - other for one, other in zip(results[first], results[second], strict=False)]
            if i != j:
                means[i, j] = np.mean(both)
    pairs = {frozenset((pair.first, pair.second)): pair for pair in evidence.differences}
    concluded = frozenset(names for names, pair in pairs.items() if pair.verdict != "tie")
    return Differences(labels, means, concluded, frozenset(pairs))


def by_score(evidence: Evidence) -> list[RowResult]:
    """Returns the rows with the best mean of the headline first; those without a result come last, in their order."""
    return sorted(evidence.rows, key=lambda row: evidence.headline.rank(row.score.mean))


def short_name(label: str) -> str:
    """Returns a label, cut in the middle where it is long: the beginning says which plugin, the end which variant."""
    if len(label) <= _ROOM:
        return label
    half = (_ROOM - 3) // 2
    return f"{label[:half]} ... {label[-half:]}"
