"""The evidence of a comparison: the results of each schedule, the tested pairs, and a verdict in words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lrtrain.comparison import protocol
from lrtrain.comparison.plan import Plan
from lrtrain.comparison.protocol import Tuned
from lrtrain.comparison.statistics import (
    PairedDifference,
    Summary,
    basin,
    compare_pairs,
    seeds_needed,
    smallest_p,
    summarise,
)
from lrtrain.comparison.trial import Outcome
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
      basin: the scales about as good as that one, lowest first; see `basin`.
      on_edge: whether that scale is the last of its grid.
      trials: the number of trials of its tuning.
      rates: the first, highest and last learning rate at that scale.
      seconds: the median time of a trial.
      problem: why it has no result; None if it has one.
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


@dataclass(frozen=True)
class Evidence:
    """The evidence of a comparison.

    Args:
      baseline: the schedule that the others are compared with; fixed before the measurement.
      rows: the results of each schedule, in the order of the plan.
      differences: the difference in the headline of each pair that was tested.
      leaders: the schedules than which no tested schedule is better, best mean first.
      enough: whether there were enough seeds for the test to find a difference.
      headline: the number that the schedules are judged by.
    """

    baseline: str
    rows: tuple[RowResult, ...]
    differences: tuple[PairedDifference, ...]
    leaders: tuple[str, ...]
    enough: bool
    headline: Headline = ACCURACY

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
            "verdict": verdict(self),
        }

    def _row_json(self, row: RowResult) -> dict[str, Any]:
        # Where the headline is the loss, the two summaries are one.
        named = {self.headline.name if name == "score" else name: value for name, value in vars(row).items()}
        return {name: vars(value) if isinstance(value, Summary) else value for name, value in named.items()}


def analyse(
    plan: Plan, headline: Headline, tuned: Mapping[str, Tuned], measured: Mapping[str, Sequence[Outcome]]
) -> Evidence:
    """Returns the evidence of a complete comparison, given the results of `protocol.tuned` and `protocol.measured`."""
    labels = [row.label for row in plan.rows]
    rows = tuple(_row_result(label, headline, measured[label], tuned.get(label)) for label in labels)
    baseline = protocol.baseline(plan, tuned)
    pairs = list(itertools.combinations(labels, 2))
    if not plan.all_pairs:
        pairs = [(label, baseline) for label in labels if label != baseline]
    results = {label: [outcome.value(headline.name) for outcome in measured[label]] for label in labels}
    differences = compare_pairs(results, pairs, headline.sign) if plan.protocol == "fair" else []
    seeds = len(protocol.fresh_seeds(plan))
    enough = plan.protocol == "fair" and seeds >= seeds_needed(len(pairs))
    return Evidence(baseline, rows, tuple(differences), _leaders(headline, rows, differences), enough, headline)


def _row_result(label: str, headline: Headline, chosen: Sequence[Outcome], tuned: Tuned | None) -> RowResult:
    times = sorted(outcome.seconds for outcome in chosen)
    return RowResult(
        label=label,
        score=summarise([outcome.value(headline.name) for outcome in chosen]),
        loss=summarise([outcome.value("loss") for outcome in chosen]),
        scale=chosen[0].trial.scale,
        basin=basin(tuned.losses) if tuned and not tuned.hopeless else (),
        on_edge=bool(tuned and tuned.on_edge),
        trials=sum(map(len, tuned.losses.values())) if tuned else 0,
        rates=next((outcome.rates for outcome in chosen if outcome.rates), None),
        seconds=times[len(times) // 2],
        problem=None if any(outcome.measured for outcome in chosen) else f"{chosen[0].state}: {chosen[0].reason}",
    )


def _leaders(headline: Headline, rows: Sequence[RowResult], differences: Sequence[PairedDifference]) -> tuple[str, ...]:
    beaten = {pair.first for pair in differences if pair.verdict == "worse"}
    beaten |= {pair.second for pair in differences if pair.verdict == "better"}
    left = [row for row in rows if row.label not in beaten and math.isfinite(row.score.mean)]
    return tuple(row.label for row in sorted(left, key=lambda row: headline.rank(row.score.mean)))


def verdict(evidence: Evidence) -> list[str]:
    """Returns what the evidence supports, in sentences, the most important first."""
    if not evidence.differences:
        return [
            "Each schedule was trained once on one seed: this repeats a listing and says nothing of which is better."
        ]
    sentences = []
    if not evidence.enough:
        seeds, family = evidence.row(evidence.baseline).score.n, len(evidence.differences)
        sentences.append(
            f"With {seeds} seeds the test cannot tell any of the {family} pairs apart (its smallest p is "
            f"{smallest_p(seeds, family):.2g}); {seeds_needed(family)} seeds could."
        )
    leaders = evidence.leaders
    if len(leaders) == 1:
        sentences.append(f"{leaders[0]} is better than everything that it was compared with.")
    elif leaders:
        names = f"{', '.join(leaders[:-1])} and {leaders[-1]}"
        sentences.append(f"No difference was found between {names}: this evidence does not tell them apart.")
    return sentences + [_pair_words(evidence.headline, pair) for pair in evidence.differences if pair.verdict != "tie"]


def _pair_words(headline: Headline, pair: PairedDifference) -> str:
    better, worse, turn = (pair.first, pair.second, 1) if pair.verdict == "better" else (pair.second, pair.first, -1)
    # By how much the better one is better, whichever way that is.
    sign = turn * headline.sign
    low, high = map(headline.difference, sorted((sign * pair.low, sign * pair.high)))
    return (
        f"{better} is better than {worse} by {headline.amount(sign * pair.mean)} (95% interval {low} to {high}, "
        f"corrected p {pair.p_adjusted:.2g}, {pair.n} seeds)."
    )
