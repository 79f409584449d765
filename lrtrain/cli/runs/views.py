"""What the command line shows of runs that are on disk."""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Callable, Sequence
from typing import Any

import click

from lrtrain.cli.tables import print_table
from lrtrain.cli.terminal import duration, printable
from lrtrain.plugins.spec import format_value, short
from lrtrain.runs.command import reproduce
from lrtrain.runs.differences import differences, settings, unequal_conditions
from lrtrain.runs.record import Epoch, Run
from lrtrain.workloads.headline import ACCURACY, Headline
from lrtrain.workloads.wording import wording

_DISPENSABLE = ("size", "peak lr", "plugin", "started", "time")
_NUMBERS = ("epochs", "accuracy", "loss", "peak lr", "time", "size")


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
        speed = wording([run.head.train.workload] if run.head else []).speed
        header = ["epoch", *_measures(run.headline), "train loss", "lr", "time", speed]
        print_table(header, [_epoch_row(epoch, run.headline) for epoch in run.epochs], header)
        click.echo()
    recipe = reproduce(run)
    if recipe.obstacle is None:
        click.echo(f"Train it again\n  {printable(shlex.join(recipe.words))}")
    else:
        click.echo(f"No single command trains it again: {printable(recipe.obstacle)}")


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
    print_table(["result", *names], [[title, *map(cell, runs)] for title, cell in _cells(runs).items()], names)
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
    named = list(zip(names, runs, strict=True))
    header = ["epoch", *(f"{what}, {name}" for name, run in named for what in _measures(run.headline))]
    rows = [
        [
            str(number),
            *(cell for run, epoch in zip(runs, epochs, strict=True) for cell in _measured(epoch, run.headline)),
        ]
        for number, epochs in enumerate(itertools.zip_longest(*(run.epochs for run in runs)), start=1)
    ]
    print_table(header, rows, header)


def _measures(headline: Headline) -> list[str]:
    """Returns what is shown of an epoch: the headline and, where that is another one, the loss."""
    return [*dict.fromkeys((headline.name, "loss"))]


def _epoch_row(epoch: Epoch, headline: Headline) -> list[str]:
    return [
        str(epoch.epoch + 1),
        *_measured(epoch, headline),
        _number(epoch.train_loss, headline.form),
        _number(epoch.learning_rate, ".3g"),
        duration(epoch.seconds),
        "-" if math.isnan(epoch.examples_per_second) else f"{epoch.examples_per_second:,.0f}",
    ]


def _measured(epoch: Epoch | None, headline: Headline) -> list[str]:
    others = _measures(headline)[1:]
    return [_score(epoch, headline), *(_number(epoch.value(name) if epoch else None, headline.form) for name in others)]


def _score(epoch: Epoch | None, headline: Headline, unit: str = "") -> str:
    if epoch is None or math.isnan(value := epoch.value(headline.name)):
        return "-"
    return headline.text(value) + unit + (" (val)" if epoch.measured_on == "validation" else "")


def _number(value: float | None, form: str = ".4f") -> str:
    return "-" if value is None else format(value, form)


def _state(run: Run) -> str:
    return run.state if run.reason is None or run.state == "running" else f"{run.state}: {short(run.reason, 48)}"


def _started(run: Run) -> str:
    started: Any = run.head and run.head.started
    return f"{started.astimezone():%Y-%m-%d %H:%M}" if started else "-"


def _best(run: Run) -> Epoch | None:
    by = run.headline
    return min(run.epochs, key=lambda epoch: by.rank(epoch.value(by.name)), default=None)


def _named(run: Run) -> str:
    """Returns the name of the number that a run is judged by, to follow its value in a column of accuracies."""
    return "" if run.headline == ACCURACY else f" {run.headline.name}"


def _cells(runs: Sequence[Run]) -> dict[str, Callable[[Run], str]]:
    """Returns what is shown of the results of runs; their headline has its name where they have the same."""
    headlines = {run.headline for run in runs}
    if len(headlines) > 1:
        return _CELLS
    (headline,) = headlines
    return {
        "state": _CELLS["state"],
        "epochs": _CELLS["epochs"],
        headline.name: lambda run: _score(run.last, headline),
        f"best {headline.name}": lambda run: _score(_best(run), headline),
        **{title: cell for title, cell in _CELLS.items() if title not in {"accuracy", "best accuracy", headline.name}},
    }


_CELLS: dict[str, Callable[[Run], str]] = {
    "state": lambda run: run.state,
    "epochs": lambda run: f"{len(run.epochs)}/{run.head.train.epochs}" if run.head else str(len(run.epochs)),
    "accuracy": lambda run: _score(run.last, run.headline, _named(run)),
    "best accuracy": lambda run: _score(_best(run), run.headline, _named(run)),
    "loss": lambda run: _number(run.last.loss if run.last else None, run.headline.form),
    "train loss": lambda run: _number(run.last.train_loss if run.last else None, run.headline.form),
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
