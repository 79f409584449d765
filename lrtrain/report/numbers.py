"""Tables of numbers behind the pictures and the page of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.comparison import protocol
from lrtrain.comparison.evidence import final_accuracy
from lrtrain.comparison.statistics import OPPOSITE, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lrtrain.comparison.evidence import Evidence, RowResult
    from lrtrain.comparison.result import Comparison


@dataclass(frozen=True, eq=False)
class Tuning:
    """What the tuning of one schedule has seen.

    Args:
      label: the schedule.
      scales: float64[scales], factors on its learning rates, ascending.
      losses: float64[scales, seeds], validation loss after the last step; NaN where a run diverged or failed.
      accuracies: float64[scales, seeds], share classified right, 0 to 1; NaN as above.
      chosen: the scale that was chosen.
    """

    label: str
    scales: NDArray[np.float64]
    losses: NDArray[np.float64]
    accuracies: NDArray[np.float64]
    chosen: float


@dataclass(frozen=True, eq=False)
class Differences:
    """Every schedule against every other.

    Args:
      labels: the schedules, best mean first.
      means: float64[schedules, schedules], accuracy of the row less that of the column, mean over the seeds on which
        both have a result; NaN where there is none, and on the diagonal.
      verdicts: what was concluded of the row, where the pair was tested.
    """

    labels: tuple[str, ...]
    means: NDArray[np.float64]
    verdicts: Mapping[tuple[str, str], Verdict]


def final_accuracies(comparison: Comparison) -> dict[str, NDArray[np.float64]]:
    """Returns the accuracy that counts, float64[seeds], for every schedule; NaN for a run without a result."""
    return {
        row.label: np.array([final_accuracy(outcome) for outcome in comparison.measured(row.label)])
        for row in comparison.plan.rows
    }


def tunings(comparison: Comparison) -> list[Tuning]:
    """Returns what the tuning has seen; nothing where there was none."""
    plan = comparison.plan
    if not comparison.tuned:
        return []
    found = {outcome.trial: outcome for outcome in comparison.outcomes if outcome.trial.stage == "tune"}
    seeds = protocol.tuning_seeds(plan)
    results = []
    for row in plan.rows:
        scales = sorted(comparison.tuned[row.label].losses)
        losses, accuracies = np.full((2, len(scales), len(seeds)), np.nan)
        for trial, outcome in found.items():
            if trial.label == row.label and trial.scale in scales and trial.seed in seeds and outcome.measured:
                place = scales.index(trial.scale), seeds.index(trial.seed)
                losses[place], accuracies[place] = outcome.validation_loss, outcome.validation_accuracy
        results.append(Tuning(row.label, np.array(scales), losses, accuracies, comparison.tuned[row.label].best))
    return results


def differences(comparison: Comparison, evidence: Evidence) -> Differences:
    """Returns the paired differences of all schedules."""
    finals = final_accuracies(comparison)
    labels = tuple(row.label for row in by_accuracy(evidence) if np.isfinite(finals[row.label]).any())
    means = np.full((len(labels), len(labels)), np.nan)
    for i, first in enumerate(labels):
        for j, second in enumerate(labels):
            both = finals[first] - finals[second]
            if i != j and np.isfinite(both).any():
                means[i, j] = np.nanmean(both)
    verdicts = {(pair.first, pair.second): pair.verdict for pair in evidence.differences}
    verdicts |= {(second, first): OPPOSITE[verdict] for (first, second), verdict in verdicts.items()}
    return Differences(labels, means, verdicts)


def by_accuracy(evidence: Evidence) -> list[RowResult]:
    """Returns the rows with the best mean accuracy first; those without a result come last, in their order."""
    return sorted(evidence.rows, key=lambda row: -row.accuracy.mean if np.isfinite(row.accuracy.mean) else np.inf)
