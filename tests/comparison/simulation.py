"""Comparisons whose truth is known: outcomes are drawn, and everything else is the tool's own protocol and test.

``python -m tests.comparison.simulation`` prints the tables of docs/explanation/protocol.md.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import stats

from lrtrain.comparison.judge import Judge
from lrtrain.comparison.plan import BUDGETS, Effort, Plan, grid
from lrtrain.comparison.protocol import Standing
from lrtrain.comparison.rows import Row
from lrtrain.comparison.statistics import PairedDifference
from lrtrain.comparison.trial import Outcome, Trial
from lrtrain.plugins.spec import Spec
from lrtrain.runs.train_config import TrainConfig

# In points of accuracy; of the variance between runs, the share that all schedules of a seed have in common.
SPREAD = 0.2
SHARED = 0.4
_GUESS = 10.0
_BEST = 90.0


def parabola(octaves: float, curvature: float) -> float:
    """Returns the points that are lost so far from the best scale: ``curvature`` one octave away."""
    return curvature * octaves**2


def lopsided(octaves: float, curvature: float) -> float:
    """A higher rate costs twice as much as a lower one, and ends at a cliff 1.6 octaves above the best."""
    return (1 + (octaves > 0)) * parabola(octaves, curvature) + 5 * (octaves > 1.6)


def skewed(octaves: float, curvature: float) -> float:
    """A cubic, 1.6 times as steep two octaves above the best scale, and 0.4 times as steep below it."""
    return parabola(octaves, curvature) * (1 + 0.3 * max(-2.0, min(octaves, 2.0)))


SHAPES: dict[str, Callable[[float, float], float]] = {"parabola": parabola, "lopsided": lopsided, "skewed": skewed}
# The protocol of lrtrain until November 2026, but for the test at its end: the lowest median of a grid.
BEFORE = {"10 seeds": Effort(grid(7), 3, 10, 10), "30 seeds": Effort(grid(9), 5, 30, 20)}


@dataclass(frozen=True)
class Truth:
    """What a simulated comparison is to find.

    Args:
      schedules: the number of schedules.
      curvature: points that are lost one octave from the best scale.
      shape: what is lost farther away; see `SHAPES`.
      ahead: by how many points the first schedule is better than the others, each at its own best scale.
    """

    schedules: int
    curvature: float
    shape: str = "parabola"
    ahead: float = 0.0


@dataclass(frozen=True)
class Found:
    """What simulated comparisons found, as means over them.

    Args:
      false: the share with a false claim.
      power: the share of the differences that there are that were found; NaN where there are none.
      tuning: the runs of a schedule to tune it.
      measuring: the runs of a schedule to measure it, the reference included.
      regret: the points that the scales that were chosen lose against the best ones.
      margin: the difference, in points, below which a pair is a tie.
    """

    false: float
    power: float
    tuning: float
    measuring: float
    regret: float
    margin: float


class _World:
    """Draws the outcome of a trial."""

    def __init__(self, truth: Truth, rng: np.random.Generator) -> None:
        self._truth, self._rng = truth, rng
        self._best = rng.uniform(-0.5, 0.5, truth.schedules)
        self._common: dict[int, float] = {}

    def lost(self, index: int, scale: float) -> float:
        return SHAPES[self._truth.shape](math.log2(scale) - self._best[index], self._truth.curvature)

    def outcome(self, trial: Trial) -> Outcome:
        index = int(trial.label)
        common = self._common.setdefault(trial.seed, math.sqrt(SHARED) * self._noise())
        points = _BEST - self.lost(index, trial.scale) + (index == 0) * self._truth.ahead
        points += common + math.sqrt(1 - SHARED) * self._noise()
        accuracy = round(points, 2) / 100
        tested = accuracy if trial.stage == "measure" else None
        loss = None if tested is None else 1 - accuracy
        return Outcome(trial, "finished", None, 1, 1 - accuracy, accuracy, loss, tested, None, 0.0)

    def _noise(self) -> float:
        """Student's t with four degrees of freedom, whose variance is 2."""
        return SPREAD * float(self._rng.standard_t(4)) / math.sqrt(2)


class _WithoutMargin(Standing):
    """A comparison in which the error of the tuning does not count."""

    def margin(self, first: str, second: str) -> float:
        return 0.0


def simulate(truth: Truth, effort: Effort, seed: int, *, all_pairs: bool = False) -> Found:
    """Tunes, measures and decides a comparison of schedules; with an effort of `BEFORE`, without a margin."""
    world = _World(truth, np.random.default_rng(seed))
    rows = tuple(Row(str(index), Spec("constant", {})) for index in range(truth.schedules))
    plan = Plan(rows, TrainConfig(), effort=effort, all_pairs=all_pairs)
    done: list[Outcome] = []
    kind = _WithoutMargin if effort in BEFORE.values() else Standing
    while trials := (standing := kind(plan, Judge(guess={"accuracy": _GUESS / 100}), done)).missing:
        done += map(world.outcome, trials)
    claims = [pair for pair in standing.differences if pair.verdict != "tie"]
    true = [pair for pair in claims if _ahead(truth, pair) * (1 if pair.verdict == "better" else -1) > 0]
    possible = sum(_ahead(truth, pair) != 0 for pair in standing.differences)
    tuning = sum(outcome.trial.stage == "tune" for outcome in done)
    return Found(
        false=float(len(true) < len(claims)),
        power=len(true) / possible if possible else math.nan,
        tuning=tuning / truth.schedules,
        measuring=(len(done) - tuning) / truth.schedules,
        regret=float(np.mean([world.lost(int(label), each.best) for label, each in standing.tuned.items()])),
        margin=100 * float(np.mean([pair.margin for pair in standing.differences])),
    )


def _ahead(truth: Truth, pair: PairedDifference) -> float:
    return truth.ahead * ((pair.first == "0") - (pair.second == "0"))


def rates(truth: Truth, effort: Effort, count: int, seed: int = 0, *, all_pairs: bool = False) -> Found:
    """Returns the means over simulated comparisons."""
    found = [simulate(truth, effort, 100_000 * seed + each, all_pairs=all_pairs) for each in range(count)]
    return Found(*np.mean([dataclasses.astuple(each) for each in found], axis=0))


def false_claims_at_most(count: int) -> int:
    """Returns how many false claims a test with an error of 5% exceeds in one of twenty such simulations."""
    return int(stats.binom.ppf(0.95, count, 0.05))


CURVATURES = (0.1, 0.3, 1.0)
AHEAD = 0.3


def tables(count: int) -> str:
    """Returns the tables of docs/explanation/protocol.md, each cell from so many simulated comparisons."""
    equal = [
        (name, shape, schedules, curvature, effort, 0.0)
        for name, effort in {**BEFORE, **BUDGETS}.items()
        for shape, schedules in [*((shape, 5) for shape in SHAPES), ("parabola", 2), ("parabola", 23)]
        for curvature in CURVATURES
    ]
    ahead = [
        (name, "parabola", schedules, curvature, effort, AHEAD)
        for name, effort in BUDGETS.items()
        for schedules in (2, 5, 23)
        for curvature in CURVATURES
    ]
    with ProcessPoolExecutor() as pool:
        cells = [*equal, *ahead]
        found = dict(zip(cells, pool.map(partial(_cell, count), cells), strict=True))
    return "\n\n".join([_table(found, equal, "false"), _table(found, ahead, "power"), _runs(found, equal)])


def _cell(count: int, cell: tuple[str, str, int, float, Effort, float]) -> Found:
    _, shape, schedules, curvature, effort, ahead = cell
    # Twenty-three schedules take ten times as long.
    return rates(Truth(schedules, curvature, shape, ahead), effort, count if schedules < 10 else count // 4, seed=7)


def _table(found: Mapping[Any, Found], cells: Sequence[Any], what: str) -> str:
    lines = ["| | schedules | shape | 0.1 | 0.3 | 1 point |", "|---|---|---|---|---|---|"]
    for name, shape, schedules in dict.fromkeys(cell[:3] for cell in cells):
        values = (vars(found[cell])[what] for cell in cells if cell[:3] == (name, shape, schedules))
        lines.append(f"| {name} | {schedules} | {shape} | {' | '.join(f'{100 * value:.1f}%' for value in values)} |")
    return "\n".join(lines)


def _runs(found: Mapping[Any, Found], cells: Sequence[Any]) -> str:
    """Returns how many runs of a schedule there were, and what its scale lost, where five are equal."""
    lines = ["| | runs to tune | runs to measure | lost at the chosen scale | margin |", "|---|---|---|---|---|"]
    for name in dict.fromkeys(cell[0] for cell in cells):
        some = [found[cell] for cell in cells if cell[:3] == (name, "parabola", 5)]
        means = [
            np.mean([getattr(each, field) for each in some]) for field in ("tuning", "measuring", "regret", "margin")
        ]
        lines.append(f"| {name} | {means[0]:.1f} | {means[1]:.1f} | {means[2]:.3f} | {means[3]:.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(tables(int(sys.argv[1]) if len(sys.argv) > 1 else 400) + "\n")
