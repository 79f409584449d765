"""What the command line shows of a run: a bar on a terminal, plain lines elsewhere, a summary at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lrtrain.cli.streams import results_kept
from lrtrain.cli.terminal import duration, printable, shown_path
from lrtrain.plugins.context import EpochInfo, StepInfo
from lrtrain.training.reporter import Begin, NullReporter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from lrtrain.training.train import RunResult

# A frame takes about a millisecond of a core, and training has use for every core.
FRAMES_PER_SECOND = 2


@contextmanager
def make_reporter(*, quiet: bool) -> Iterator[Quiet]:
    """Returns the reporter that suits where the output goes."""
    if quiet:
        yield Quiet()
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with make_bar() as bar:
            yield OnTerminal(bar)
    else:
        yield InLines()


def print_summary(result: RunResult) -> None:
    """Prints the result of a run, and where its files are."""
    files = (
        ("metrics", "metrics.jsonl", "one line an epoch"),
        ("steps", "steps.csv", "learning rate and loss of every step"),
        ("picture", "learning_rate.png", "the schedule"),
        ("checkpoints", "checkpoints", "the last three and the best"),
    )
    directory = shown_path(result.run_dir)
    best = max((epoch.test_accuracy for epoch in result.history), default=result.test_accuracy)
    with results_kept(f"the run is complete, and its files are in {directory}"):
        if result.stopped:
            click.echo(f"stopped by {printable(result.stopped)}")
        click.echo(
            f"test accuracy {result.test_accuracy:.4f} (best {best:.4f}), test loss {result.test_loss:.4f}, "
            f"after {result.steps} steps in {duration(result.seconds)}"
        )
        click.echo(f"{'run':12} {directory}")
        for title, name, meaning in files:
            click.echo(f"{title:12} {os.path.join(directory, name)}  ({meaning})")


class Quiet(NullReporter):
    """Says nothing, and remembers where the run is."""

    directory: Path | None = None

    def begin(self, begin: Begin) -> None:
        """Notes the run's directory."""
        self.directory = begin.run.directory


class InLines(Quiet):
    """One line for the beginning and one for each epoch, for logs and pipes."""

    def phase(self, text: str) -> None:
        """Says what takes a while."""
        self._say(f"{printable(text)} ...")

    def begin(self, begin: Begin) -> None:
        """Says what is going to be trained."""
        super().begin(begin)
        self._say(_beginning(begin))

    def epoch_ended(self, epoch: EpochInfo, examples_per_second: float) -> None:
        """Says how well the epoch went."""
        self._say(
            f"epoch {epoch.epoch + 1:3}  test accuracy {epoch.test_accuracy:.4f}  test loss {epoch.test_loss:.4f}  "
            f"train loss {epoch.train_loss:.4f}  lr {epoch.learning_rate:.3g}  {epoch.seconds:.1f} s  "
            f"{examples_per_second:,.0f} img/s"
        )

    def _say(self, text: str) -> None:
        click.echo(text, err=True)


class OnTerminal(InLines):
    """A bar with learning rate, loss, images per second and time left; the epochs scroll above it."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, detail="")

    def phase(self, text: str) -> None:
        """Says beside the spinner what takes a while."""
        self._bar.update(self._task, detail=text)

    def begin(self, begin: Begin) -> None:
        """Sets the bar to where the run begins."""
        super().begin(begin)
        self._bar.reset(self._task, total=begin.run.total_steps, completed=begin.step, detail="")

    def stepped(self, step: StepInfo, examples_per_second: float) -> None:
        """Moves the bar."""
        rate, loss = f"lr {step.learning_rate:.3g}", f"loss {step.loss:.4f}"
        detail = f"epoch {step.epoch + 1}  {rate}  {loss}  {examples_per_second:,.0f} img/s"
        self._bar.update(self._task, completed=step.step + 1, detail=detail)

    def _say(self, text: str) -> None:
        self._bar.console.print(text, highlight=False, markup=False)


def make_bar(console: Console | None = None) -> Progress:
    """Returns the bar; without a console it is drawn on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    return Progress(
        SpinnerColumn(),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
        TimeRemainingColumn(compact=True),
        console=console or Console(stderr=True),
        transient=True,
        refresh_per_second=FRAMES_PER_SECOND,
        # Loading a data set takes sys.stdout for a while; the bar must not.
        redirect_stdout=False,
    )


def _beginning(begin: Begin) -> str:
    run = begin.run
    plugins = ", ".join(table["plugin"] for table in run.config["plugins"])
    train_examples, test_examples = begin.examples
    left = "nothing left" if begin.step == run.total_steps else f"from step {begin.step}"
    start = f" ({left})" if begin.step else ""
    return (
        f"{plugins}: {run.epochs} epochs of {run.steps_per_epoch} steps{start} on {begin.devices}, "
        f"{train_examples} training and {test_examples} test images, in {shown_path(run.directory)}"
        + (f"\n{printable(begin.note)}" if begin.note else "")
    )
