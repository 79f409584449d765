"""Which trials the tuning of a comparison needs: a coarse grid for every schedule, then more around its best scale."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lrtrain.comparison.judge import Judge
from lrtrain.comparison.plan import Plan
from lrtrain.comparison.trial import Outcome, Trial
from lrtrain.comparison.tuning import Basin, basin_at, coarse_best, grid_best, has_basin, median, vertex

# The best scale of a schedule may be higher with every extension: its grid is not extended without end.
MOST_EXTENSIONS = 3
_SCALES_PER_EXTENSION = 2
# The scales around the best one that are tried after the grid, in octaves from it, and how far a parabola reaches.
REFINEMENT = (((-1.0, 0.0, 1.0), 2.5), ((-0.5, 0.5), 1.75))


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


class Tuning:
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
            best = _scale(vertex(seen, self._centres[label], REFINEMENT[-1][1]))
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
