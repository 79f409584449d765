"""What the command line shows of runs that are on disk."""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from lrtrain.cli.tables import print_table
from lrtrain.cli.terminal import duration, printable
from lrtrain.plugins.spec import format_value, short
from lrtrain.runs.command import reproduce
from lrtrain.runs.differences import differences, settings, unequal_conditions
from lrtrain.runs.reading import best_epoch
from lrtrain.runs.record import Epoch, Run

_DISPENSABLE = ("size", "peak lr", "plugin", "started", "time")
_NUMBERS = ("epoch", "epochs", "accuracy", "loss", "train loss", "lr", "peak lr", "time", "size", "img/s")


def show_list(runs: Sequence[Run]) -> None:
    """Prints a line for each run."""
    print_table(list(_LIST), [[cell(run) for cell in _LIST.values()] for run in runs], _NUMBERS, _DISPENSABLE)


def show_run(run: Run) -> None:
    """Prints all that is known of a run."""
    state = run.state if run.reason is None else f"{run.state}: {run.reason}"
    click.echo(f"{click.style(printable(run.name), bold=True)}  ({printable(state)})")
    click.echo(
        f"{printable(str(run.path))}  ({size(run.size)}, began {_started(run)}, trained {duration(run.seconds)})\n"
    )
    values = settings(run)
    if values:
        rows = [[key, value if isinstance(value, str) else format_value(value)] for key, value in values.items()]
        print_table(["setting", "value"], rows)
        click.echo()
    if run.epochs:
        header = ["epoch", "accuracy", "loss", "train loss", "lr", "time", "img/s"]
        print_table(header, [_epoch_row(epoch) for epoch in run.epochs], _NUMBERS)
        click.echo()
    for line in _checkpoint_and_test(run):
        click.echo(f"{line}\n")
    recipe = reproduce(run)
    if recipe.obstacle is None:
        click.echo(f"Train it again\n  {printable(shlex.join(recipe.words))}")
    else:
        click.echo(f"No single command trains it again: {printable(recipe.obstacle)}")


def _checkpoint_and_test(run: Run) -> Iterator[str]:
    best, name = best_epoch(run), run.headline.name
    if best is not None:
        where = f"{name} {best.value(name):.4f} on the {best.measured_on} set"
        yield f"Best checkpoint: that of step {best.step}, after epoch {best.epoch + 1} ({where})"
    if run.test:
        means = ", ".join(f"{name} {value:.4f}" for name, value in run.test.items() if name != "step")
        yield f"Test set, used once, after step {run.test['step']:.0f}: {means}"


def show_comparison(runs: Sequence[Run], names: Sequence[str], *, epochs: bool) -> None:
    """Prints the differences between runs and their results, side by side."""
    rows = [
        [key, *("-" if value is None else format_value(value) for value in values)]
        for key, values in differences(runs).items()
    ]
    if rows:
        print_table(["differs", *names], rows)
    else:
        click.echo("their configurations are equal")
    click.echo()
    print_table(["result", *names], [[title, *map(cell, runs)] for title, cell in _CELLS.items()], names)
    if epochs:
        click.echo()
        _show_epochs(runs, names)
    notes = unequal_conditions(runs, names)
    if notes:
        click.echo()
    for note in notes:
        click.echo(f"note: {printable(note)}")


def size(count: int) -> str:
    """Returns a number of bytes in words, such as ``1.8 MB``."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f} B" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def _show_epochs(runs: Sequence[Run], names: Sequence[str]) -> None:
    header = ["epoch", *(f"{what}, {name}" for name in names for what in ("accuracy", "loss"))]
    done = enumerate(itertools.zip_longest(*(run.epochs for run in runs)), start=1)
    rows = [[str(number), *(cell for epoch in epochs for cell in _measured(epoch))] for number, epochs in done]
    print_table(header, rows, header)


def _epoch_row(epoch: Epoch) -> list[str]:
    return [
        str(epoch.epoch + 1),
        *_measured(epoch),
        _number(epoch.train_loss),
        _number(epoch.learning_rate, ".3g"),
        duration(epoch.seconds),
        "-" if math.isnan(epoch.examples_per_second) else f"{epoch.examples_per_second:,.0f}",
    ]


def _measured(epoch: Epoch | None) -> list[str]:
    return [_accuracy(epoch), _number(epoch.loss if epoch else None)]


def _accuracy(epoch: Epoch | None) -> str:
    mark = " (val)" if epoch and epoch.measured_on == "validation" else ""
    return _number(epoch.accuracy if epoch else None) + mark


def _number(value: float | None, form: str = ".4f") -> str:
    return "-" if value is None else format(value, form)


def _state(run: Run) -> str:
    return run.state if run.reason is None or run.state == "running" else f"{run.state}: {short(run.reason, 48)}"


def _started(run: Run) -> str:
    started: Any = run.head and run.head.started
    return f"{started.astimezone():%Y-%m-%d %H:%M}" if started else "-"


_CELLS: dict[str, Callable[[Run], str]] = {
    "state": lambda run: run.state,
    "epochs": lambda run: f"{len(run.epochs)}/{run.head.train.epochs}" if run.head else str(len(run.epochs)),
    "accuracy": lambda run: _accuracy(run.last),
    "best accuracy": lambda run: _accuracy(max(run.epochs, key=lambda epoch: epoch.accuracy, default=None)),
    "loss": lambda run: _number(run.last.loss if run.last else None),
    "train loss": lambda run: _number(run.last.train_loss if run.last else None),
    "peak lr": lambda run: _number(run.peak_learning_rate, ".3g"),
    "time": lambda run: duration(run.seconds),
    "size": lambda run: size(run.size),
}
_LIST: dict[str, Callable[[Run], str]] = {
    "name": lambda run: run.name,
    "plugin": lambda run: short(str(run.head.schedule), 40) if run.head else "-",
    **{title: _CELLS[title] for title in ("epochs", "accuracy", "loss", "peak lr")},
    "state": _state,
    "started": _started,
    "time": _CELLS["time"],
    "size": _CELLS["size"],
}
