"""The evidence of a comparison: the results of each schedule, and the tested pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lrtrain.comparison.protocol import Standing, fresh_seeds
from lrtrain.comparison.sign_flips import smallest_p
from lrtrain.comparison.statistics import ALPHA, PairedDifference, Summary, summarise
from lrtrain.comparison.tuning_trials import Tuned
from lrtrain.runs.record import finite
from lrtrain.workloads.headline import ACCURACY, Headline, noted


@dataclass(frozen=True)
class RowResult:
    """The results of one schedule.

    Args:
      label: the label of the schedule.
      score: the headline of the workload on the test set over the seeds.
      loss: the loss on the test set over the seeds.
      scale: the factor on its learning rates that the tuning chose.
      basin: the lowest and the highest scale about as good as that one; see `lrtrain.comparison.tuning.Basin`.
      on_edge: whether that scale is the lowest or the highest that was tried.
      trials: the number of trials of its tuning.
      rates: the first, highest and last learning rate at that scale.
      seconds: the median time of a trial.
      problem: why it has no result; None if it has one.
      lost: what the headline loses, as expected, because its best scale is not known better; NaN where too few scales
        were tried to tell.
    """

    label: str
    score: Summary
    loss: Summary
    scale: float
    basin: tuple[float, ...]
    on_edge: bool
    trials: int
    rates: tuple[float, float, float] | None
    seconds: float
    problem: str | None
    lost: float = 0.0


@dataclass(frozen=True)
class Evidence:
    """The evidence of a comparison.

    Args:
      baseline: the schedule that the others are compared with; fixed before the measurement.
      rows: the results of each schedule, in the order of the plan.
      differences: the difference in the headline of each pair that was tested.
      leaders: the schedules than which no tested schedule is better, best mean first; they need not be equal.
      enough: whether there were enough seeds for the test to find a difference.
      headline: the number that the schedules are judged by.
      paired: whether results are compared seed by seed.
    """

    baseline: str
    rows: tuple[RowResult, ...]
    differences: tuple[PairedDifference, ...]
    leaders: tuple[str, ...]
    enough: bool
    headline: Headline = ACCURACY
    paired: bool = True

    def row(self, label: str) -> RowResult:
        """Returns the results of a schedule."""
        return next(row for row in self.rows if row.label == label)

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as JSON holds them; a number that is not finite is null."""
        return {
            "reference": self.baseline,
            **({"headline": vars(self.headline)} if noted(self.headline) else {}),
            "schedules": finite(list(map(self._row_json, self.rows))),
            "differences": finite([vars(difference) for difference in self.differences]),
            "leaders": list(self.leaders),
            "enough_seeds": self.enough,
        }

    def _row_json(self, row: RowResult) -> dict[str, Any]:
        # Where the headline is the loss, the two summaries are one: the score.
        values = {name: value for name, value in vars(row).items() if name not in {"label", "score"}}
        named = {"label": row.label, self.headline.name: row.score, **values, self.headline.name: row.score}
        return {name: vars(value) if isinstance(value, Summary) else value for name, value in named.items()}


def analyse(standing: Standing) -> Evidence:
    """Returns the evidence of a comparison that is complete."""
    plan, headline = standing.plan, standing.judge.headline
    rows = tuple(_row_result(standing, row.label) for row in plan.rows)
    differences = tuple(standing.differences)
    possible = smallest_p(len(fresh_seeds(plan))) < ALPHA / len(plan.effort.looks)
    enough = plan.protocol == "fair" and possible
    return Evidence(standing.baseline, rows, differences, leaders_of(headline, rows, differences), enough, headline)


def _row_result(standing: Standing, label: str) -> RowResult:
    chosen, tuned, headline = standing.measured[label], standing.tuned.get(label), standing.judge.headline
    times, has_result = sorted(outcome.seconds for outcome in chosen), any(outcome.measured for outcome in chosen)
    fair = standing.plan.protocol == "fair"
    values = standing.results[label] if fair and has_result else [outcome.value(headline.name) for outcome in chosen]
    without = sum(not outcome.measured for outcome in chosen)
    collapsed = sum(outcome.measured and standing.judge.collapsed(outcome) for outcome in chosen)
    return RowResult(
        label=label,
        score=summarise(values, without, collapsed),
        loss=summarise([outcome.value("loss") for outcome in chosen], without, collapsed),
        scale=chosen[0].trial.scale,
        basin=_scales(tuned) if tuned and not tuned.hopeless else (),
        on_edge=bool(tuned and tuned.on_edge),
        trials=sum(map(len, tuned.costs.values())) if tuned else 0,
        rates=next((outcome.rates for outcome in chosen if outcome.rates), None),
        seconds=times[len(times) // 2],
        problem=None if has_result else f"{chosen[0].state}: {chosen[0].reason}",
        lost=tuned.basin.loss if tuned and not tuned.hopeless else 0.0,
    )


def _scales(tuned: Tuned) -> tuple[float, float]:
    return 2.0**tuned.basin.low, 2.0**tuned.basin.high


def leaders_of(
    headline: Headline, rows: Sequence[RowResult], differences: Sequence[PairedDifference]
) -> tuple[str, ...]:
    """Returns the schedules than which no tested schedule is better, best mean first."""
    beaten = {pair.first for pair in differences if pair.verdict == "worse"}
    beaten |= {pair.second for pair in differences if pair.verdict == "better"}
    left = [row for row in rows if row.label not in beaten and math.isfinite(row.score.mean)]
    return tuple(row.label for row in sorted(left, key=lambda row: headline.rank(row.score.mean)))
