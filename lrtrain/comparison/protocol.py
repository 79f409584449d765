"""The fair protocol: which trials come next, given the outcomes so far. It trains nothing.

Stage "tune" finds the best learning-rate scale of every schedule on validation examples: one run at each scale of a
coarse grid, then runs around the vertex of a parabola (`lrtrain.comparison.tuning`), equally many for all schedules. A
best scale at the edge of the grid extends the grid. Stage "measure" trains each schedule at its best scale with fresh
seeds, the same for all schedules, so that results are paired; at some numbers of seeds it looks which pairs are
decided.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lrtrain.comparison.judge import Judge
from lrtrain.comparison.plan import FRESH, Plan
from lrtrain.comparison.statistics import PairedDifference, compare_pairs
from lrtrain.comparison.trial import Outcome, Trial
from lrtrain.comparison.tuning import Basin, basin_at, coarse_best, grid_best, has_basin, median, vertex

# The best scale of a schedule may be higher with every extension: its grid is not extended without end.
MOST_EXTENSIONS = 3
_SCALES_PER_EXTENSION = 2
# The scales around the best one that are tried after the grid, in octaves from it, and how far a parabola reaches.
REFINEMENT = (((-1.0, 0.0, 1.0), 2.5), ((-0.5, 0.5), 1.75))
_REACH = 1.75


@dataclass(frozen=True)
class Tuned:
    """The result of the tuning of one schedule.

    Args:
      costs: for every scale, lowest first, the cost of its trials (`Judge.cost`); infinity for one without a result.
      best: the scale that was chosen.
      extended: the number of times that the grid was extended.
      basin: what the trials say of the scales near it.
    """

    costs: Mapping[float, tuple[float, ...]]
    best: float
    extended: int
    basin: Basin

    @property
    def on_edge(self) -> bool:
        """Whether the best scale is the lowest or the highest that was tried."""
        return self.basin.on_edge

    @property
    def hopeless(self) -> bool:
        """Whether no scale has a result for all of its trials."""
        return math.isinf(self.basin.cost)


def tuning_seeds(plan: Plan) -> range:
    """Returns the seeds of the tuning: those of the grid, and after them those of each round of the refinement."""
    effort = plan.effort
    rounds = len(REFINEMENT) if effort.refines else 0
    return range(plan.train.seed, plan.train.seed + effort.grid_seeds + rounds * effort.tuning_seeds)


def fresh_seeds(plan: Plan) -> range:
    """Returns the seeds of the measurement; the tuning uses none of them."""
    first = plan.train.seed + (FRESH if plan.protocol == "fair" else 0)
    return range(first, first + (plan.effort.seeds if plan.protocol == "fair" else 1))


def planned(plan: Plan) -> tuple[int, int]:
    """Returns the number of trials of the tuning, if no grid is extended, and the most of the measurement."""
    effort, rows = plan.effort, len(plan.rows)
    each = len(effort.scales) * effort.grid_seeds
    if effort.refines:
        each += effort.tuning_seeds * sum(len(offsets) for offsets, _ in REFINEMENT)
    return rows * each if plan.protocol == "fair" else 0, rows * len(fresh_seeds(plan))


def paired(plan: Plan) -> tuple[int, int]:
    """Returns the number of trials of one seed in the tuning, if no grid is extended, and in the measurement."""
    return len(plan.rows) * len(plan.effort.scales), len(plan.rows)


@dataclass(frozen=True, eq=False)
class Standing:
    """A comparison with the outcomes so far.

    Args:
      plan: the comparison.
      judge: how outcomes are judged.
      done: the outcomes, in any order.
      centres: the scale of each schedule around which its grid is, so that all grids are of the same learning rates; 1
        where there is none.
    """

    plan: Plan
    judge: Judge
    done: Sequence[Outcome]
    centres: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, about: Mapping[str, Any], done: Sequence[Outcome]) -> Standing:
        """Returns that of a comparison with these conditions, as ``comparison.json`` has them."""
        return cls(plan, Judge.noted(about), done, about.get("centres") or {})

    @property
    def missing(self) -> list[Trial]:
        """The trials that come next: those that the tuning lacks or, when it is complete, the measurement."""
        return self.to_tune or self.to_measure

    @property
    def to_tune(self) -> list[Trial]:
        """The trials that the tuning lacks next, those of extended grids included; none when it is complete."""
        return self._tuning.missing if self.plan.protocol == "fair" else []

    @functools.cached_property
    def tuned(self) -> Mapping[str, Tuned]:
        """The result of the tuning of every schedule, which must be complete; empty where nothing is tuned."""
        return self._tuning.results() if self.plan.protocol == "fair" else {}

    @functools.cached_property
    def to_measure(self) -> list[Trial]:
        """The trials that the measurement lacks next, seed by seed so that pairs are complete; none when it is."""
        labels, seeds, looks = [row.label for row in self.plan.rows], fresh_seeds(self.plan), self.plan.effort.looks
        if missing := self._lacking(labels, seeds[: looks[0]]):
            return missing
        undecided = [each for each in self.differences if each.undecided]
        if not undecided:
            return []
        look = next(look for look in looks if look > undecided[0].n)
        left = {label for each in undecided for label in (each.first, each.second)}
        return self._lacking([label for label in labels if label in left], seeds[:look])

    @functools.cached_property
    def differences(self) -> Sequence[PairedDifference]:
        """The pairs that are tested, as far as they are decided."""
        results, sign = self.results, self.judge.headline.sign
        known = {label for label, values in results.items() if not any(map(math.isnan, values))}
        tested = [pair for pair in self.pairs if known.issuperset(pair)]
        margins = [self.margin(*pair) for pair in tested]
        if not all(outcome.measured for outcomes in self.measured.values() for outcome in outcomes):
            # A run without a result has that of a guess: none may be worse.
            results = {label: self.judge.at_worst(values) for label, values in results.items()}
        return compare_pairs(results, tested, sign, margins=margins, looks=self.plan.effort.looks)

    @functools.cached_property
    def baseline(self) -> str:
        """The schedule that the others are compared with: the one of the plan, or the best of the tuning."""
        if self.plan.baseline is not None or not self.tuned:
            return self.plan.baseline or self.plan.rows[0].label
        return min(self.tuned, key=lambda label: self.tuned[label].basin.cost)

    @functools.cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """The pairs that are tested: none has a schedule whose plugin fails at every scale."""
        if self.plan.protocol == "as-is":
            return []
        labels = [row.label for row in self.plan.rows if not self._broken(row.label)]
        if self.plan.all_pairs:
            return list(itertools.combinations(labels, 2))
        if self.baseline not in labels:
            return []
        return [(label, self.baseline) for label in labels if label != self.baseline]

    def margin(self, first: str, second: str) -> float:
        """Returns the difference that two schedules may owe to the choice of their scales: the sum of what each loses.

        In simulation false claims stay below 5% with it; docs/decisions/0020 has the table.
        """
        losses = [self.tuned[label].basin.loss for label in (first, second) if label in self.tuned]
        # Unknown where too few scales were tried, which the verdict says.
        return sum(loss for loss in losses if math.isfinite(loss))

    @functools.cached_property
    def measured(self) -> Mapping[str, list[Outcome]]:
        """The outcomes of each schedule that are reported, seed by seed: those at its best scale.

        A merged comparison may have others, at the best scales of the comparisons that it was merged from.
        """
        found = {outcome.trial: outcome for outcome in self.done}
        measured: dict[str, list[Outcome]] = {}
        for row in self.plan.rows:
            trials = (self._trial(row.label, seed) for seed in fresh_seeds(self.plan))
            # One that has left has none on the later seeds.
            measured[row.label] = [found[trial] for trial in itertools.takewhile(found.__contains__, trials)]
        return measured

    @functools.cached_property
    def results(self) -> Mapping[str, list[float]]:
        """The headline of `measured`, where a trial without a result has the worst one."""
        tuning = [outcome for outcome in self.done if outcome.trial.stage == "tune"]
        return {label: self.judge.results(each, tuning) for label, each in self.measured.items()}

    @functools.cached_property
    def _tuning(self) -> _Tuning:
        return _Tuning(self.plan, self.judge, self.done, self.centres)

    def _broken(self, label: str) -> bool:
        states = [outcome.state for outcome in self.done if outcome.trial.label == label]
        return bool(states) and all(state == "failed" for state in states)

    def _trial(self, label: str, seed: int) -> Trial:
        return Trial("measure", label, self.tuned[label].best if self.tuned else 1.0, seed)

    def _lacking(self, labels: Sequence[str], seeds: Sequence[int]) -> list[Trial]:
        found = {outcome.trial for outcome in self.done}
        wanted = (self._trial(label, seed) for seed in seeds for label in labels)
        return [trial for trial in wanted if trial not in found]


class _Tuning:
    """The tuning, carried out again with the outcomes so far, up to the first round that lacks a trial."""

    def __init__(self, plan: Plan, judge: Judge, done: Sequence[Outcome], grid_centres: Mapping[str, float]) -> None:
        self._plan, self._grid_centres = plan, grid_centres
        # Of a few runs the loss says more than the accuracy; a curve through many of them needs no such help.
        chooser = judge if plan.effort.refines else judge.on_loss()
        self._judged = {outcome.trial: judge.cost(outcome) for outcome in done if outcome.trial.stage == "tune"}
        self._costs = {outcome.trial: chooser.cost(outcome) for outcome in done if outcome.trial.stage == "tune"}
        self._seen: dict[str, dict[float, list[float]]] = {row.label: {} for row in plan.rows}
        self._centres: dict[str, float] = {}
        self._extended = 0
        self.missing = self._replayed()

    def results(self) -> dict[str, Tuned]:
        """Returns the result of each schedule, from the rounds that are complete."""
        return {label: self._result(label, seen) for label, seen in self._seen.items()}

    def _result(self, label: str, seen: Mapping[float, Sequence[float]]) -> Tuned:
        costs = {scale: tuple(seen[scale]) for scale in sorted(seen)}
        if label in self._centres:
            best = _scale(vertex(seen, self._centres[label], _REACH))
            return Tuned(costs, best, self._extended, basin_at(seen, math.log2(best)))
        best = grid_best(seen)
        judged: dict[float, list[float]] = {scale: [] for scale in seen}
        for trial, cost in self._judged.items():
            if trial.label == label and trial.scale in judged:
                judged[trial.scale].append(cost)
        basin = dataclasses.replace(basin_at(judged, math.log2(best)), cost=median(seen[best]))
        return Tuned(costs, best, self._extended, basin)

    def _replayed(self) -> list[Trial]:
        for wanted in self._rounds():
            if missing := [trial for trial in wanted if trial not in self._costs]:
                return missing
            for trial in wanted:
                self._seen[trial.label].setdefault(trial.scale, []).append(self._costs[trial])
        return []

    def _rounds(self) -> Iterator[list[Trial]]:
        """Yields the trials of each round; when it goes on, their costs are known."""
        effort, seeds = self._plan.effort, tuning_seeds(self._plan)
        grids = {row.label: self._first_grid(row.label) for row in self._plan.rows}
        for self._extended in range(MOST_EXTENSIONS + 1):
            yield [
                Trial("tune", label, scale, seed)
                for label, grid in grids.items()
                for scale in grid
                if scale not in self._seen[label]
                for seed in seeds[: effort.grid_seeds]
            ]
            best = {label: self._coarse(label) for label in grids}
            if not any(_on_edge(grid, best[label]) for label, grid in grids.items()):
                break
            if self._extended < MOST_EXTENSIONS:
                grids = {label: _extended(grid, best[label]) for label, grid in grids.items()}
        if not effort.refines:
            return
        self._centres = {label: math.log2(scale) for label, scale in best.items() if scale is not None}
        for number, (offsets, reach) in enumerate(REFINEMENT):
            first = effort.grid_seeds + number * effort.tuning_seeds
            for label, centre in self._centres.items():
                self._centres[label] = vertex(self._seen[label], centre, reach)
            yield [
                Trial("tune", label, _scale(centre + offset), seed)
                for label, centre in self._centres.items()
                for offset in offsets
                for seed in seeds[first : first + effort.tuning_seeds]
            ]

    def _first_grid(self, label: str) -> tuple[float, ...]:
        effort = self._plan.effort
        if not effort.refines:
            return tuple(sorted(effort.scales))
        return tuple(_rounded(self._grid_centres.get(label, 1.0) * scale) for scale in sorted(effort.scales))

    def _coarse(self, label: str) -> float | None:
        """Returns the best scale of a grid; None where every scale has failed."""
        seen = self._seen[label]
        if self._plan.effort.refines:
            return coarse_best(seen) if has_basin(seen) else None
        best = grid_best(seen)
        return best if math.isfinite(median(seen[best])) else None


def _scale(octaves: float) -> float:
    return _rounded(2.0**octaves)


def _rounded(scale: float) -> float:
    # A resume finds a trial by its scale, whose last digits another processor may compute otherwise.
    return float(f"{scale:.4g}")


def _on_edge(grid: Sequence[float], best: float | None) -> bool:
    return len(grid) > 1 and best in {grid[0], grid[-1]}


def _extended(grid: tuple[float, ...], best: float | None) -> tuple[float, ...]:
    """Returns a grid with two more scales: beyond its edge if the best scale is there, else on both sides of the best.

    A schedule whose best scale is inside needs no extension; it gets one so that all have the same number of trials.
    """
    if best is None:
        return grid
    if _on_edge(grid, best):
        factor = grid[1] / grid[0] if best == grid[0] else grid[-1] / grid[-2]
        if best == grid[0]:
            return tuple(grid[0] / factor**n for n in range(_SCALES_PER_EXTENSION, 0, -1)) + grid
        return grid + tuple(grid[-1] * factor**n for n in range(1, _SCALES_PER_EXTENSION + 1))
    at = grid.index(best)
    neighbours = [math.sqrt(low * high) for low, high in itertools.pairwise(grid)]
    nearest = sorted(range(len(neighbours)), key=lambda n: abs(n + 0.5 - at))[:_SCALES_PER_EXTENSION]
    return tuple(sorted({*grid, *(neighbours[n] for n in nearest)}))
