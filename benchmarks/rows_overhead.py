"""What lrtrain adds to its own step."""

from __future__ import annotations

import dataclasses
from statistics import median

from scipy.stats import quantile_test

from benchmarks.competitors import EPOCH, Competitor
from benchmarks.options import Options
from benchmarks.table import Row, Table
from benchmarks.targets import Measured, at_most
from benchmarks.workers import Outcome, interleaved

_LRTRAIN, _ON_STEP, _CONTROL = "lrtrain", "lrtrain, on_step plugin", "the bare loop itself"
COMPETITORS = {
    _LRTRAIN: Competitor(".lrtrain_run:make_beside_bare", EPOCH),
    _ON_STEP: Competitor(".lrtrain_run:make_with_on_step_beside_bare", EPOCH),
    _CONTROL: Competitor(".bare_loop:make_between", EPOCH),
}
# A round says too little: what is looked for is less than what two epochs of one program differ by.
_TIMES_ROUNDS = 3


def measure(options: Options) -> Measured:
    """Times epochs with a bare loop around each."""
    more = dataclasses.replace(options, rounds=options.rounds * _TIMES_ROUNDS)
    outcomes = interleaved(list(COMPETITORS), more, __name__)
    rows = []
    for name, outcome in outcomes.items():
        rows.append(Row(f"bare loop around `{name}`", [each * 1e3 for each in outcome.bare]))
        rows.append(Row(name, [each * 1e3 for each in outcome.seconds], outcome.missing or _said(outcome)))
    targets = [
        at_most("an epoch of lrtrain over one of the bare loop", _percent_over(outcomes[_LRTRAIN]), 2, "%"),
        at_most("the same with an on_step plugin", _percent_over(outcomes[_ON_STEP]), 5, "%"),
    ]
    return Measured([Table("What lrtrain adds to its step", "ms a step", rows, _ABOUT)], targets)


_ABOUT = (
    "An epoch is all of `lrtrain.train` without the evaluation. Right before and right after each one, a loop "
    "with no logs, hooks, bar or checkpoint goes through half an epoch with the same engine in the same process; a "
    "round's figure is lrtrain's time over the mean of the two. The median of the rounds counts; in brackets its "
    "interval of 95 % confidence, by the ranks of the rounds, whatever their distribution. Two processes that run the "
    "same program differ by some 5 % for as long as they live, and a machine's speed drifts by more from one epoch to "
    f"the next. `{_CONTROL}`, between two halves of its own, adds nothing: its figure says how far the others can be "
    "believed."
)


def _said(outcome: Outcome) -> str:
    rounds = _percents_over(outcome)
    interval = quantile_test(rounds, p=0.5).confidence_interval(0.95)
    return f"{median(rounds):+.2f} % over the bare loop ({interval.low:+.2f} to {interval.high:+.2f})"


def _percent_over(outcome: Outcome) -> float | None:
    """Returns how much longer a step took than the bare loop's around it: the median of the rounds' own ratios."""
    return median(_percents_over(outcome)) if outcome.bare else None


def _percents_over(outcome: Outcome) -> list[float]:
    return [(mine / bare - 1) * 100 for mine, bare in zip(outcome.seconds, outcome.bare, strict=True)]
