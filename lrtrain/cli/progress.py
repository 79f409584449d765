"""What the command line shows of work: a bar on a terminal, plain lines elsewhere; of a run a summary at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lrtrain.cli.streams import results_kept
from lrtrain.cli.terminal import duration, printable, shown_path
from lrtrain.plugins.context import EpochInfo, StepInfo
from lrtrain.runs.command import Kind, how_to_go_on
from lrtrain.signals import PROCESS
from lrtrain.training.reporter import Begin, NullReporter
from lrtrain.workloads.headline import ACCURACY, Headline, headline_in
from lrtrain.workloads.wording import wording

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from lrtrain.training.train import RunResult

# A frame takes about a millisecond of a core, and training has use for every core.
_FRAMES_PER_SECOND = 2


ScreenT = TypeVar("ScreenT", bound="Screen")


class Screen:
    """Where progress is shown: beside and above a bar on a terminal, in lines elsewhere, nowhere if ``quiet``."""

    directory: Path | None = None

    def __init__(self, bar: Progress | None = None, *, quiet: bool = False) -> None:
        self._bar, self._is_quiet = bar, quiet
        if bar is not None:
            bar.add_task("", total=None, detail="")

    def say(self, text: str) -> None:
        """Prints lines, which scroll above the bar."""
        lines = "\n".join(map(printable, text.splitlines()))
        if self._bar is not None:
            self._bar.console.print(lines, highlight=False, markup=False)
        elif not self._is_quiet:
            click.echo(lines, err=True)

    def phase(self, text: str) -> None:
        """Says what takes a while."""
        if self._bar is not None:
            self.move(detail=text)
        else:
            self.say(f"{text} ...")

    def start(self, done: int, total: int, detail: str = "") -> None:
        """Sets the bar to where the work begins."""
        if self._bar is not None:
            self._bar.reset(self._bar.task_ids[0], total=total, completed=done, detail=detail)

    def move(self, **fields: Any) -> None:
        """Moves the bar."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], **fields)


@contextmanager
def reporting(
    reporter_of: type[ScreenT], *, quiet: bool, work: Kind | None = None, directory: Path | None = None
) -> Iterator[ScreenT]:
    """Yields the reporter that suits where the output goes; whatever ends the process tells how to go on with work."""
    with ExitStack() as drawn:
        has_bar = not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        bar = drawn.enter_context(make_bar(has_clock=work == "comparison")) if has_bar else None
        reporter = reporter_of(bar, quiet=quiet)
        reporter.directory = directory
        if work is not None:
            PROCESS.how_to_go_on = lambda: how_to_go_on(reporter.directory and shown_path(reporter.directory), work)
        yield reporter


def print_summary(result: RunResult, headline: Headline = ACCURACY) -> None:
    """Prints the result of a run, the number that its workload is judged by first, and where its files are."""
    files = (
        ("metrics", "metrics.jsonl", "one line an epoch"),
        ("steps", "steps.csv", "learning rate and loss of every step"),
        ("picture", "learning_rate.png", "the schedule"),
        ("checkpoints", "checkpoints", "the last three that were written, and the best"),
    )
    directory = shown_path(result.run_dir)
    final = {"loss": result.test_loss, "accuracy": result.test_accuracy, **dict(result.test_metrics)}[headline.name]
    values = [epoch.value(headline.name) for epoch in result.history] or [final]
    last = result.history[-1] if result.history else None
    on = "validation " if last is not None and last.measured_on == "validation" else ""
    with results_kept(f"the run is complete, and its files are in {directory}"):
        if result.stopped:
            click.echo(f"stopped by {printable(result.stopped)}")
        click.echo(
            f"test {headline.name} {headline.text(final)} (best {on}{headline.text(headline.best(values))}), "
            f"{'' if headline.is_loss else f'test loss {result.test_loss:{headline.form}}, '}"
            f"after {result.steps} steps in {duration(result.seconds)}"
        )
        if result.note:
            click.echo(f"note: {result.note}")
        click.echo(f"{'run':12} {directory}")
        for title, name, meaning in files:
            click.echo(f"{title:12} {os.path.join(directory, name)}  ({meaning})")


class RunReporter(Screen, NullReporter):
    """The bar of a run has learning rate, loss, examples per second and time left; each epoch is a line."""

    headline = ACCURACY
    _words = wording([])

    def begin(self, begin: Begin) -> None:
        """Says what is going to be trained."""
        self.directory, config = begin.run.directory, begin.run.config
        self.headline, self._words = headline_in(config), wording([config["train"]["workload"]])
        self.start(begin.step, begin.run.total_steps)
        self.say(_beginning(begin, self._words.examples))

    def stepped(self, step: StepInfo, examples_per_second: float) -> None:
        """Moves the bar."""
        rate, loss = f"lr {step.learning_rate:.3g}", f"loss {step.loss:.4f}"
        detail = f"epoch {step.epoch + 1}  {rate}  {loss}  {examples_per_second:,.0f} {self._words.speed}"
        self.move(completed=step.step + 1, detail=detail)

    def epoch_ended(self, epoch: EpochInfo, examples_per_second: float) -> None:
        """Says how well the epoch went."""
        names, form = dict.fromkeys((self.headline.name, "loss")), self.headline.form
        tested = "".join(f"{epoch.measured_on} {name} {epoch.value(name):{form}}  " for name in names)
        self.say(
            f"epoch {epoch.epoch + 1:3}  {tested}train loss {epoch.train_loss:{form}}  lr {epoch.learning_rate:.3g}  "
            f"{epoch.seconds:.1f} s  {examples_per_second:,.0f} {self._words.speed}"
        )


def make_bar(console: Console | None = None, *, has_clock: bool = False) -> Progress:
    """Returns the bar; without a console it is drawn on standard error, and ``has_clock`` adds the time so far."""
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.SpinnerColumn(),
        progress.BarColumn(bar_width=24),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[detail]}", markup=False),
        *([progress.TimeElapsedColumn()] if has_clock else []),
        progress.TimeRemainingColumn(compact=True),
        console=console or Console(stderr=True),
        transient=True,
        refresh_per_second=_FRAMES_PER_SECOND,
        # Loading a data set takes sys.stdout for a while; the bar must not.
        redirect_stdout=False,
    )


def _beginning(begin: Begin, examples: str) -> str:
    run = begin.run
    plugins = ", ".join(table["plugin"] for table in run.config["plugins"])
    train_examples, test_examples = begin.examples
    left = "nothing left" if begin.step == run.total_steps else f"from step {begin.step}"
    start = f" ({left})" if begin.step else ""
    held_out = "" if begin.validation is None else f", {begin.validation} validation"
    stands = f" (which stand for validation {examples})" if begin.validation is None else ""
    return (
        f"{plugins}: {run.epochs} epochs of {run.steps_per_epoch} steps{start} on {begin.devices}, "
        f"{train_examples} training{held_out} and {test_examples} test {examples}{stands}, in "
        f"{shown_path(run.directory)}" + (f"\n{printable(begin.note)}" if begin.note else "")
    )
