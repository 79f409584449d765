"""The fair protocol: which trials come next, given the outcomes so far. It trains nothing.

Stage "tune" finds the best learning-rate scale of every schedule on validation examples: one run at each scale of a
coarse grid, then runs around the vertex of a parabola (`lrtrain.comparison.tuning`), equally many for all schedules. A
best scale at the edge of the grid extends the grid. Stage "measure" trains each schedule at its best scale with fresh
seeds, the same for all schedules, so that results are paired; at some numbers of seeds it looks which pairs are
decided.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lrtrain.comparison.judge import Judge
from lrtrain.comparison.plan import FRESH, Plan
from lrtrain.comparison.statistics import PairedDifference, compare_pairs
from lrtrain.comparison.trial import Outcome, Trial
from lrtrain.comparison.tuning_trials import REFINEMENT, Tuned, Tuning


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
    def _tuning(self) -> Tuning:
        return Tuning(self.plan, self.judge, self.done, self.centres)

    def _broken(self, label: str) -> bool:
        states = [outcome.state for outcome in self.done if outcome.trial.label == label]
        return bool(states) and all(state == "failed" for state in states)

    def _trial(self, label: str, seed: int) -> Trial:
        return Trial("measure", label, self.tuned[label].best if self.tuned else 1.0, seed)

    def _lacking(self, labels: Sequence[str], seeds: Sequence[int]) -> list[Trial]:
        found = {outcome.trial for outcome in self.done}
        wanted = (self._trial(label, seed) for seed in seeds for label in labels)
        return [trial for trial in wanted if trial not in found]
