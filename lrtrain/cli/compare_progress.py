"""What the command line shows of a comparison: what it will cost, each run as it ends, and the closing table."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from lrtrain.comparing import Comparison, Forecast
    from lrtrain.comparison.plan import Plan
    from lrtrain.comparison.protocol import Tuned
    from lrtrain.comparison.trial import Outcome


@contextmanager
def reporting(*, quiet: bool) -> Iterator[Any]:
    """Returns the reporter that suits where the output goes; says how to go on when the user interrupts."""
    reporter: InLines = Quiet() if quiet else InLines()
    try:
        if not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            with _bar() as bar:
                reporter = OnTerminal(bar)
                yield reporter
        else:
            yield reporter
    except KeyboardInterrupt:
        raise Interrupted(reporter.directory) from None


class Interrupted(click.ClickException):
    """The user has stopped the comparison; says how to go on with it."""

    exit_code = 130

    def __init__(self, directory: Path | None) -> None:
        go_on = (
            f"lrtrain compare --resume --run-dir {_short(directory)} continues it" if directory else "nothing is kept"
        )
        super().__init__(f"interrupted; {go_on}")


class InLines:
    """Plain lines, one for each run, for files and pipes."""

    def __init__(self) -> None:
        self.directory: Path | None = None

    def say(self, text: str) -> None:
        """Prints a line."""
        click.echo(text, err=True)

    def phase(self, text: str) -> None:
        """Says that something that takes a while begins."""
        self.say(f"{text} ...")

    def planned(self, plan: Plan, forecast: Forecast) -> None:
        """Says what is about to be trained, and what it can hope to find."""
        self.directory = forecast.directory
        for line in forecast_lines(plan, forecast):
            self.say(line)

    def stepped(self, steps: int) -> None:
        """Nothing: a line for each chunk would be too many."""

    def finished(self, outcome: Outcome, done: int, total: int) -> None:
        """Prints the line of a run."""
        self.say(f"[{done}/{total}] {outcome_line(outcome)}")

    def tuned(self, tuned: Mapping[str, Tuned], reference: str) -> None:
        """Prints what the tuning has come to."""
        for label, each in tuned.items():
            self.say(f"{label}: {_tuned_words(each)}")
        self.say(f"measured against: {reference}")


class Quiet(InLines):
    """Nothing at all."""

    def say(self, text: str) -> None:
        """Prints nothing."""


class OnTerminal(InLines):
    """A bar over all runs, and a line above it for each."""

    def __init__(self, bar: Progress) -> None:
        super().__init__()
        self._bar = bar
        self._task: TaskID = bar.add_task("starting", total=None)
        self._steps = 0.0

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        self._bar.console.print(text, markup=False, highlight=False)

    def phase(self, text: str) -> None:
        """Shows it beside the bar."""
        self._bar.update(self._task, description=text)

    def planned(self, plan: Plan, forecast: Forecast) -> None:
        """Says what is about to be trained."""
        super().planned(plan, forecast)
        total = forecast.tuning + forecast.measuring
        self._bar.update(self._task, description="training", total=total, completed=forecast.done)

    def finished(self, outcome: Outcome, done: int, total: int) -> None:
        """Prints the line of a run, and moves the bar."""
        super().finished(outcome, done, total)
        self._bar.update(self._task, completed=done, total=total)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("runs"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True)


def forecast_lines(plan: Plan, forecast: Forecast) -> Iterator[str]:
    """Says how many runs there are, how long they take, and what they can show."""
    runs = forecast.tuning + forecast.measuring
    kinds = f" ({forecast.tuning} to tune, {forecast.measuring} to measure)" if forecast.tuning else ""
    done = f", {forecast.done} of them done" if forecast.done else ""
    yield (
        f"{len(plan.rows)} schedules, {runs} runs{kinds}{done}, {forecast.width} at once: about "
        f"{duration(forecast.seconds)}, in {_short(forecast.directory)}"
    )
    if plan.protocol == "as-is":
        yield (
            "each schedule is trained once, and the test set is its validation set: this repeats a listing and is no "
            "basis for choosing a schedule (without --preset, schedules are tuned and measured on held-out data)"
        )


def outcome_line(outcome: Outcome) -> str:
    """Says what has come of a run."""
    trial = outcome.trial
    where = f"{trial.label}  scale {trial.scale:g}  seed {trial.seed}"
    if outcome.validation_accuracy is None:
        return f"{where}  {outcome.state}: {outcome.reason}"
    ended = f"  ({outcome.state}: {outcome.reason})" if outcome.state != "finished" else ""
    return (
        f"{where}  accuracy {outcome.validation_accuracy:.4f}  loss {outcome.validation_loss:.4f}  "
        f"{outcome.seconds:.1f} s{ended}"
    )


def _tuned_words(tuned: Tuned) -> str:
    if tuned.hopeless:
        return "every scale diverged or failed"
    extended = f", its grid extended {tuned.extended} time(s)" if tuned.extended else ""
    edge = ", still the last of its grid" if tuned.on_edge else ""
    return f"best scale {tuned.best:g} of {len(tuned.losses)}{extended}{edge}"


def show(comparison: Comparison, *, sort: str, as_json: bool) -> None:
    """Prints the closing table, or all of it as JSON."""
    if as_json:
        click.echo(
            json.dumps(
                {"directory": str(comparison.directory), "rows": list(map(_record, _rows(comparison, sort)))}, indent=2
            )
        )
        return
    header = ("schedule", "accuracy", "loss", "first lr", "peak lr", "last lr", "seconds")
    rows = [_cells(label, outcomes) for label, outcomes in _rows(comparison, sort)]
    widths = [max(len(row[n]) for row in [header, *rows]) for n in range(len(header))]
    for row in [header, *rows]:
        cells = (
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=False))
        )
        click.echo("  ".join([*cells, *row[len(header) :]]).rstrip())
    click.echo(f"every run, and its configuration: {_short(comparison.directory)}")


def _rows(comparison: Comparison, sort: str) -> list[tuple[str, list[Outcome]]]:
    rows = [(row.label, comparison.measured(row.label)) for row in comparison.plan.rows]
    keys: dict[str, Any] = {
        "given": lambda row: 0,
        "accuracy": lambda row: -(row[1][0].validation_accuracy or -1),
        "loss": lambda row: row[1][0].validation_loss or float("inf"),
        "seconds": lambda row: row[1][0].seconds,
    }
    return sorted(rows, key=keys[sort])


def _record(row: tuple[str, list[Outcome]]) -> dict[str, Any]:
    return {"schedule": row[0], "runs": [outcome.to_json() for outcome in row[1]]}


def _cells(label: str, outcomes: list[Outcome]) -> list[str]:
    first = outcomes[0]
    rates = ["-"] * 3 if first.rates is None else [f"{rate:.3g}" for rate in first.rates]
    seconds = f"{first.seconds:.1f}"
    if first.validation_accuracy is None:
        return [label, first.state, "-", *rates, seconds, f"({first.reason})"]
    return [label, f"{first.validation_accuracy:.4f}", f"{first.validation_loss:.4f}", *rates, seconds]


def duration(seconds: float) -> str:
    """Returns a time in words, such as ``12 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
