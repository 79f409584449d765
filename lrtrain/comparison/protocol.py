"""The fair protocol: which trials come next, given the outcomes so far. It trains nothing and uses no test set.

Stage "tune" trains every schedule over the same grid of learning-rate scales, each with the same few seeds. The best
scale is the one whose median validation loss after the last step is lowest; a best scale at the edge of the grid
extends it by two scales, and every other schedule gets as many more trials. Stage "measure" trains each schedule at
its best scale with fresh seeds, the same for all schedules, so that results are paired.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lrtrain.comparison.plan import FRESH, Plan
from lrtrain.comparison.trial import Outcome, Trial

# The loss of a schedule may fall with every higher scale: its grid is not extended without end.
MOST_EXTENSIONS = 3
_SCALES_PER_EXTENSION = 2


@dataclass(frozen=True)
class Tuned:
    """The result of the tuning of one schedule.

    Args:
      losses: for every scale, lowest first, the validation losses of its trials; infinity for one that diverged.
      best: the scale whose median loss is lowest.
      extended: the number of times that the grid was extended.
    """

    losses: Mapping[float, tuple[float, ...]]
    best: float
    extended: int

    @property
    def on_edge(self) -> bool:
        """Whether the best scale is the lowest or the highest of the grid."""
        return len(self.losses) > 1 and self.best in (min(self.losses), max(self.losses))

    @property
    def hopeless(self) -> bool:
        """Whether no scale has a finite median."""
        return math.isinf(_median(self.losses[self.best]))


def tuning_seeds(plan: Plan) -> range:
    """Returns the seeds of the tuning."""
    return range(plan.train.seed, plan.train.seed + plan.effort.tuning_seeds)


def fresh_seeds(plan: Plan) -> range:
    """Returns the seeds of the measurement; the tuning uses none of them."""
    first = plan.train.seed + (FRESH if plan.protocol == "fair" else 0)
    return range(first, first + (plan.effort.seeds if plan.protocol == "fair" else 1))


def planned(plan: Plan) -> tuple[int, int]:
    """Returns the number of trials of the tuning, if no grid is extended, and of the measurement."""
    return len(tuning_trials(plan, [])), len(plan.rows) * len(fresh_seeds(plan))


def paired(plan: Plan) -> tuple[int, int]:
    """Returns the number of trials of one seed in the tuning, if no grid is extended, and in the measurement."""
    return len(plan.rows) * len(plan.effort.scales), len(plan.rows)


def tuning_trials(plan: Plan, done: Sequence[Outcome]) -> list[Trial]:
    """Returns the trials that the tuning still lacks, those of extended grids included; none when it is complete."""
    if plan.protocol == "as-is":
        return []
    found = {outcome.trial for outcome in done}
    seeds = tuning_seeds(plan)
    for scales in _grids(plan, done):
        wanted = [
            Trial("tune", row.label, scale, seed) for row in plan.rows for scale in scales[row.label] for seed in seeds
        ]
        if missing := [trial for trial in wanted if trial not in found]:
            return missing
    return []


def _grids(plan: Plan, done: Sequence[Outcome]) -> Iterator[dict[str, tuple[float, ...]]]:
    """Yields the grid of every schedule, and then its extensions as long as a best scale is on an edge."""
    scales = {row.label: tuple(sorted(plan.effort.scales)) for row in plan.rows}
    yield scales
    for _ in range(MOST_EXTENSIONS):
        tuned = {label: _tuned(label, grid, done, 0) for label, grid in scales.items()}
        if not any(each.on_edge and not each.hopeless for each in tuned.values()):
            return
        scales = {label: _extended(grid, tuned[label]) for label, grid in scales.items()}
        yield scales


def _extended(grid: tuple[float, ...], tuned: Tuned) -> tuple[float, ...]:
    """Returns a grid with two more scales: beyond its edge if the best scale is there, else on both sides of the best.

    A schedule whose best scale is inside needs no extension; it gets one so that all have the same number of trials.
    """
    if tuned.on_edge and not tuned.hopeless:
        factor = grid[1] / grid[0] if tuned.best == grid[0] else grid[-1] / grid[-2]
        if tuned.best == grid[0]:
            return tuple(grid[0] / factor**n for n in range(_SCALES_PER_EXTENSION, 0, -1)) + grid
        return grid + tuple(grid[-1] * factor**n for n in range(1, _SCALES_PER_EXTENSION + 1))
    at = grid.index(tuned.best)
    neighbours = [math.sqrt(low * high) for low, high in itertools.pairwise(grid)]
    nearest = sorted(range(len(neighbours)), key=lambda n: abs(n + 0.5 - at))[:_SCALES_PER_EXTENSION]
    return tuple(sorted({*grid, *(neighbours[n] for n in nearest)}))


def tuned(plan: Plan, done: Sequence[Outcome]) -> dict[str, Tuned]:
    """Returns, for every schedule, the result of its tuning, which must be complete; empty where nothing is tuned."""
    if plan.protocol == "as-is":
        return {}
    grids = list(_grids(plan, done))
    return {row.label: _tuned(row.label, grids[-1][row.label], done, len(grids) - 1) for row in plan.rows}


def _tuned(label: str, grid: Sequence[float], done: Sequence[Outcome], extended: int) -> Tuned:
    found: dict[float, list[float]] = {scale: [] for scale in grid}
    for outcome in done:
        trial, loss = outcome.trial, outcome.validation_loss
        if trial.label == label and trial.stage == "tune" and trial.scale in found:
            found[trial.scale].append(math.inf if loss is None else loss)
    losses = {scale: tuple(each) or (math.inf,) for scale, each in found.items()}
    # Of scales with the same median, such as infinity, the lowest.
    best = min(losses, key=lambda scale: (_median(losses[scale]), scale))
    return Tuned(losses, best, extended)


def _median(losses: Sequence[float]) -> float:
    middle = statistics.median_high(losses) if any(map(math.isinf, losses)) else statistics.median(losses)
    return float(middle)


def missing(plan: Plan, done: Sequence[Outcome]) -> list[Trial]:
    """Returns the trials that come next: those that the tuning lacks or, when it is complete, the measurement."""
    found = {outcome.trial for outcome in done}
    rest = tuning_trials(plan, done)
    return rest or [trial for trial in _measuring(plan, tuned(plan, done)) if trial not in found]


def measured(plan: Plan, done: Sequence[Outcome], results: Mapping[str, Tuned]) -> dict[str, list[Outcome]]:
    """Returns, for every schedule, the outcomes that are reported, seed by seed: those at the best scale of its tuning.

    A merged comparison may have others, at the best scales of the comparisons that it was merged from. The results of
    the tuning are those of `tuned`.
    """
    found = {outcome.trial: outcome for outcome in done}
    reported = [found[trial] for trial in _measuring(plan, results) if trial in found]
    return {row.label: [each for each in reported if each.trial.label == row.label] for row in plan.rows}


def baseline(plan: Plan, results: Mapping[str, Tuned]) -> str:
    """Returns the schedule that the others are compared with: the one of the plan, or the best of the tuning."""
    if plan.baseline is not None or not results:
        return plan.baseline or plan.rows[0].label
    return min(results, key=lambda label: _median(results[label].losses[results[label].best]))


def _measuring(plan: Plan, results: Mapping[str, Tuned]) -> list[Trial]:
    """Returns the trials of the measurement, each at the best scale of its tuning, or at 1 where nothing is tuned."""
    scales = {row.label: results[row.label].best if results else 1.0 for row in plan.rows}
    # Seed by seed: an interrupted comparison has complete pairs.
    return [Trial("measure", label, scale, seed) for seed in fresh_seeds(plan) for label, scale in scales.items()]
