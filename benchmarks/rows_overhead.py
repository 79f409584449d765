"""What lrtrain adds to its own step."""

from __future__ import annotations

import dataclasses
from statistics import median

from scipy.stats import quantile_test

from benchmarks.competitors import EPOCH, Competitor
from benchmarks.options import Options, jax_platform
from benchmarks.problem import BATCH
from benchmarks.table import Row, Table
from benchmarks.targets import Measured, Target, at_most
from benchmarks.workers import Outcome, interleaved

_LRTRAIN, _ON_STEP, _CONTROL = "lrtrain", "lrtrain, on_step plugin", "the bare loop itself"
SHORT = "lrtrain, on_step plugin, short epochs"
COMPETITORS = {
    _LRTRAIN: Competitor(".lrtrain_run:make_beside_bare", EPOCH),
    _ON_STEP: Competitor(".lrtrain_run:make_with_on_step_beside_bare", EPOCH),
    # On an accelerator, all epochs are short.
    **({SHORT: Competitor(".lrtrain_run:make_short_beside_bare", EPOCH)} if jax_platform() == "cpu" else {}),
    _CONTROL: Competitor(".bare_loop:make_between", EPOCH),
}
# One round is not enough: the overhead is less than the difference between two epochs of one program.
_TIMES_ROUNDS = 3


def measure(options: Options) -> Measured:
    """Times epochs with a bare loop around each."""
    more = dataclasses.replace(options, rounds=options.rounds * _TIMES_ROUNDS)
    outcomes = interleaved(list(COMPETITORS), more, __name__)
    rows = []
    for name, outcome in outcomes.items():
        rows.append(Row(f"bare loop around `{name}`", [each * 1e3 for each in outcome.bare]))
        rows.append(Row(name, [each * 1e3 for each in outcome.seconds], outcome.missing or _said(outcome)))
    tables = [Table("What lrtrain adds to its step", "ms a step", rows, _ABOUT)]
    if all(outcome.aside for outcome in outcomes.values() if not outcome.missing):
        tables.append(_processor_time(outcomes, -(-options.examples // BATCH)))
    targets = _targets(outcomes, 2, 5)
    if SHORT in outcomes:
        targets.append(at_most("the same with short epochs", _percent_over(outcomes[SHORT]), 10, "%"))
    return Measured(tables, targets, _targets(outcomes, 10, 10))


def _targets(outcomes: dict[str, Outcome], alone: float, with_on_step: float) -> list[Target]:
    return [
        at_most("an epoch of lrtrain over one of the bare loop", _percent_over(outcomes[_LRTRAIN]), alone, "%"),
        at_most("the same with an on_step plugin", _percent_over(outcomes[_ON_STEP]), with_on_step, "%"),
    ]


def _processor_time(outcomes: dict[str, Outcome], steps: int) -> Table:
    """Returns the processor time of the same epochs outside of their steps."""
    rows = []
    for name, outcome in outcomes.items():
        rows.append(Row(f"bare loop around `{name}`", [each * 1e3 for each in outcome.bare_aside]))
        pairs = list(zip(outcome.aside, outcome.bare_aside, strict=True))
        added = [mine - bare for mine, bare in pairs]
        shares = [each / (bare * steps) for each, bare in zip(added, outcome.bare, strict=True)]
        note = f"{median(added) * 1e3:+.0f} ms, {median(shares):+.2%} of an epoch" if added else ""
        rows.append(Row(name, [each * 1e3 for each in outcome.aside], note))
    about = (
        "What the processes of the table above computed in the same epochs, the threads in which XLA computes the "
        "steps and the evaluation left aside: hooks, logs, the bar, checkpoints, and sending the steps. The clock says "
        "what an epoch took, other programs' doings included; this says what lrtrain does in it that a bare loop does "
        "not. If all of that stopped every core for as long as it takes, an epoch would be longer by the share in the "
        "note."
    )
    return Table("Processor time besides the steps", "ms an epoch", rows, about)


_ABOUT = (
    "An epoch is all of `lrtrain.train` without the evaluation. Where epochs are "
    "short, which all are on an accelerator and those of a linear network on CPU, a round has ten. Right before and "
    "right after a round, a loop with no logs, hooks, bar or checkpoint goes through half its steps with the same "
    "engine in the same process; a round's figure is lrtrain's time over the mean of the two. The median of the rounds "
    "counts; in brackets its "
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
