"""What the command line shows of a comparison: what it will cost, each run as it ends, and the closing table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

from lrtrain.cli.progress import Screen
from lrtrain.cli.streams import results_kept
from lrtrain.cli.tables import print_json, print_table
from lrtrain.cli.terminal import duration, shown_path
from lrtrain.comparison.reporter import NullReporter
from lrtrain.plugins.discovery import DEFAULT_WORKLOAD
from lrtrain.workloads.headline import ACCURACY

if TYPE_CHECKING:
    from lrtrain.comparison.plan import Plan
    from lrtrain.comparison.protocol import Tuned
    from lrtrain.comparison.reporter import Forecast
    from lrtrain.comparison.result import Comparison
    from lrtrain.comparison.store import Store
    from lrtrain.comparison.trial import Outcome
    from lrtrain.workloads.headline import Headline

# What a terminal too narrow for all of it does without, the first one first; the page has all of it.
_DISPENSABLE = (
    "good scales", "median", "first lr", "last lr", "n", "peak lr", "seconds", "loss", "sd", "scale", "95% interval"
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

    def tuned(self, tuned: Mapping[str, Tuned], baseline: str) -> None:
        """Says which scales were chosen."""
        for label, each in tuned.items():
            self.say(f"{label}: {_tuned_words(each)}")
        self.say(f"measured against: {baseline}")


def _forecast_lines(plan: Plan, forecast: Forecast) -> Iterator[str]:
    """Says how many runs there are, how long they take, and what they can show."""
    runs = forecast.tuning + forecast.measuring
    kinds = f" ({forecast.tuning} to tune, {forecast.measuring} to measure)" if forecast.tuning else ""
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


# Between the seeds of the default network on Fashion-MNIST; an assumption until the comparison has measured its own.
_SPREAD = 0.002


def _power_lines(plan: Plan) -> Iterator[str]:
    from lrtrain.comparison.statistics import detectable_difference, seeds_needed, smallest_p

    seeds, family = plan.effort.seeds, plan.family
    if seeds < seeds_needed(family):
        yield (
            f"{seeds} seeds cannot distinguish any of {family} pairs (the smallest p they can give is "
            f"{smallest_p(seeds, family):.2g}): --seeds {seeds_needed(family)} could"
        )
    if plan.train.workload != DEFAULT_WORKLOAD:
        times = detectable_difference(1, seeds)
        yield f"{seeds} seeds find a difference of about {times:.2g} times the standard deviation between seeds"
        return
    points = 100 * detectable_difference(_SPREAD, seeds)
    yield (
        f"for a spread of {100 * _SPREAD:g} points between seeds, {seeds} seeds find a difference of about "
        f"{points:.2f} points of accuracy"
    )


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
    edge = ", still the last of its grid" if tuned.on_edge else ""
    return f"best scale {tuned.best:g} of {len(tuned.losses)}{extended}{edge}"


def show(comparison: Comparison, store: Store, *, sort: str, as_json: bool) -> None:
    """Prints the closing table and the verdict, or all of it as JSON."""
    from lrtrain.comparison.evidence import verdict
    from lrtrain.comparison.table import table_of

    evidence = comparison.evidence
    with results_kept(f"the comparison is complete, and its report is {shown_path(store.report)}"):
        if as_json:
            shown = {"directory": str(store.path), "report": str(store.report), **evidence.to_json()}
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
