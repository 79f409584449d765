"""What the command line shows of a comparison: what it will cost, each run as it ends, and the closing table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from lrtrain.cli.progress import Screen
from lrtrain.cli.streams import results_kept
from lrtrain.cli.tables import print_json, print_table
from lrtrain.cli.terminal import duration, shown_path
from lrtrain.comparison.reporter import NullReporter
from lrtrain.workloads.headline import ACCURACY

if TYPE_CHECKING:
    from lrtrain.comparison.plan import Plan
    from lrtrain.comparison.protocol import Standing
    from lrtrain.comparison.reporter import Forecast
    from lrtrain.comparison.result import Comparison
    from lrtrain.comparison.store import Store
    from lrtrain.comparison.trial import Outcome
    from lrtrain.comparison.tuning_trials import Tuned
    from lrtrain.workloads.headline import Headline

# What a terminal too narrow for all of it does without, the first one first; the page has all of it.
_DISPENSABLE = (
    "good scales", "median", "first lr", "last lr", "n", "peak lr", "seconds", "loss", "sd", "scale", "95% interval",
    "difference",
)  # fmt: skip


class ComparisonReporter(Screen, NullReporter):
    """The bar of a comparison is over all runs; each run is a line."""

    noted = Screen.say
    _headline = ACCURACY

    def planned(self, plan: Plan, forecast: Forecast) -> None:
        """Says what is going to be trained."""
        self.directory, self._headline = forecast.directory, plan.workload.workload.headline
        for line in _forecast_lines(plan, forecast):
            self.say(line)
        self.start(forecast.done, forecast.tuning + forecast.measuring, "runs")

    def finished(self, outcome: Outcome, done: int, total: int) -> None:
        """Says how a run went."""
        self.say(f"[{done}/{total}] {_outcome_line(outcome, self._headline)}")
        self.move(completed=done, total=total, detail="runs")

    def tuned(self, standing: Standing) -> None:
        """Says which scales were chosen, and what the measurement will be able to show."""
        for label, each in standing.tuned.items():
            self.say(f"{label}: {_tuned_words(each)}")
        how = "the best of the tuning" if standing.plan.baseline is None else "as the plan says"
        self.say(f"measured against: {standing.baseline}, {how}")
        for line in _promise(standing):
            self.say(line)
        self.say(_rest(standing))


class VerifyingReporter(ComparisonReporter):
    """The bar of the runs that verify a learning rate."""

    def planned(self, plan: Plan, forecast: Forecast) -> None:
        """Says how many complete runs there are."""
        self._headline = plan.workload.workload.headline
        self.say(f"{forecast.tuning} complete runs or more, {forecast.width} at once: {duration(forecast.seconds)}")
        self.start(forecast.done, forecast.tuning, "runs")

    def tuned(self, standing: Standing) -> None:
        """Says nothing: what was found is printed at the end."""


def _forecast_lines(plan: Plan, forecast: Forecast) -> Iterator[str]:
    """Says how many runs there are, how long they take, and what they can show."""
    runs = forecast.tuning + forecast.measuring
    most = "at most " if len(plan.effort.looks) > 1 else ""
    kinds = f" ({forecast.tuning} to tune, {most}{forecast.measuring} to measure)" if forecast.tuning else ""
    done = f", {forecast.done} of them done" if forecast.done else ""
    yield (
        f"{len(plan.rows)} schedules, {runs} runs{kinds}{done}, {forecast.width} at once: about "
        f"{duration(forecast.seconds)}, in {shown_path(forecast.directory)}"
    )
    if plan.protocol == "as-is":
        yield (
            "each schedule is trained once, and the test set is its validation set: this repeats a listing and is no "
            "basis for choosing a schedule (without --preset, schedules are tuned and measured on held-out data)"
        )
        return
    yield from _power_lines(plan)


def _power_lines(plan: Plan) -> Iterator[str]:
    from lrtrain.comparison.power import detectable
    from lrtrain.comparison.sign_flips import fewest_seeds, smallest_p
    from lrtrain.comparison.statistics import ALPHA

    seeds, looks = plan.effort.seeds, len(plan.effort.looks)
    level = ALPHA / looks
    if smallest_p(seeds) >= level:
        yield (
            f"{seeds} seeds cannot distinguish any schedules (the smallest p that they can give is "
            f"{smallest_p(seeds):.2g}): --seeds {fewest_seeds(level)} could"
        )
        return
    # Of a difference of two runs that have nothing in common.
    times = math.sqrt(2) * detectable(seeds, plan.family, level)
    yield (
        f"{'up to ' if looks > 1 else ''}{seeds} seeds find a difference of {times:.2g} times the standard deviation "
        "between runs in four of five comparisons; what that is, is said after the tuning"
    )


def _promise(standing: Standing) -> Iterator[str]:
    """Says how large a difference will be found, from the spread that the tuning has shown, and what is a tie."""
    from lrtrain.comparison.power import detectable
    from lrtrain.comparison.statistics import ALPHA

    looks, headline, tuned = standing.plan.effort.looks, standing.judge.headline, standing.tuned
    times = detectable(looks[-1], max(1, len(standing.pairs)), ALPHA / len(looks))
    margins = [standing.margin(*pair) for pair in standing.pairs]
    spreads = [math.hypot(*(tuned[label].basin.spread for label in pair)) for pair in standing.pairs]
    found = [margin + times * spread for margin, spread in zip(margins, spreads, strict=True)]
    known = sorted(each for each in found if math.isfinite(each))
    if margins and max(margins) > 0:
        yield (
            f"differences of up to {_between(headline, margins)} are ties, because the choice of the learning rates "
            "may cause them"
        )
    if known:
        yield (
            f"differences of about {_between(headline, known)} are found in four of five comparisons, for the spread "
            "of these runs"
        )


def _rest(standing: Standing) -> str:
    """Says how long the measurement takes, from the time of every schedule's runs so far."""
    from lrtrain.comparison.protocol import fresh_seeds

    seeds, most = len(fresh_seeds(standing.plan)), "at most " if len(standing.plan.effort.looks) > 1 else ""
    seconds = 0.0
    for label in standing.tuned:
        times = [outcome.seconds for outcome in standing.done if outcome.trial.label == label]
        seconds += seeds * statistics.fmean(times)
    return f"{most}{seeds * len(standing.tuned)} runs to measure them, which take {most}{duration(seconds)}"


def _between(headline: Headline, values: Sequence[float]) -> str:
    low, high = headline.difference(min(values)), headline.difference(max(values))
    unit = f" {'' if headline.points else 'of '}{headline.unit}"
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit} (by pair)"


def _outcome_line(outcome: Outcome, headline: Headline) -> str:
    """Returns the result of a run in words."""
    trial = outcome.trial
    where = f"{trial.label}  scale {trial.scale:g}  seed {trial.seed}"
    if not outcome.measured:
        return f"{where}  {outcome.state}: {outcome.reason}"
    ended = f"  ({outcome.state}: {outcome.reason})" if outcome.state != "finished" else ""
    names = dict.fromkeys((headline.name, "loss"))
    measures = "".join(f"{name} {headline.text(outcome.validation(name))}  " for name in names)
    return f"{where}  {measures}{outcome.seconds:.1f} s{ended}"


def _tuned_words(tuned: Tuned) -> str:
    if tuned.hopeless:
        return "every scale diverged or failed"
    extended = f", its grid extended {tuned.extended} time(s)" if tuned.extended else ""
    edge = ", the last that was tried" if tuned.on_edge else ""
    runs = sum(map(len, tuned.costs.values()))
    return f"best scale {tuned.best:.4g}, from {runs} runs at {len(tuned.costs)} scales{extended}{edge}"


def show(comparison: Comparison, store: Store, *, sort: str, as_json: bool) -> None:
    """Prints the closing table and the verdict, or all of it as JSON."""
    from lrtrain.comparison.table import table_of
    from lrtrain.comparison.verdict import evidence_as_json, verdict

    evidence = comparison.evidence
    with results_kept(f"the comparison is complete, and its report is {shown_path(store.report)}"):
        if as_json:
            shown = {"directory": str(store.path), "report": str(store.report), **evidence_as_json(evidence)}
            print_json(shown)
            return
        table = table_of(evidence, fair=comparison.plan.protocol == "fair")
        # That is what the order by accuracy is for, where there is none.
        by = evidence.headline.name if sort == "accuracy" else sort
        rows = [[cell.text for cell in row] for row in (table if sort == "given" else table.sorted_by(by)).rows]
        numbers = [column.title for column in table.columns if column.numeric]
        dispensable = [title for title in _DISPENSABLE if title in table.titles and title != evidence.headline.name]
        print_table(table.titles, rows, numbers, dispensable)
        for sentence in verdict(evidence):
            click.echo(sentence)
        click.echo(f"report: {shown_path(store.report)}")
        click.echo(f"pictures: {shown_path(store.pictures)}")
        click.echo(f"every run, and its configuration: {shown_path(store.path)}")
