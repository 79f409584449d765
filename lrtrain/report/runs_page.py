"""The page of runs that are no comparison, or of several: what they look like, and no verdict."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lrtrain.comparison.table import Cell, Column, Table, number
from lrtrain.errors import RunDirError, UsageError
from lrtrain.report.curves import curves_of_runs
from lrtrain.report.page import charts
from lrtrain.report.page.content import Chart, Page, ScheduleSection
from lrtrain.report.plugin_facts import options_in_words, summary_of
from lrtrain.runs.command import reproduce
from lrtrain.runs.reading import Logged, read_logged, run_paths
from lrtrain.runs.record import Run

_COLUMNS = (
    Column("run", "its directory", numeric=False),
    Column("schedule", "the plugin with its options", numeric=False),
    Column("state", "whether all epochs are done", numeric=False),
    Column("epochs", "epochs done"),
    Column("seed", "decides the initial weights and the order of the images"),
    Column("accuracy", "share classified right after the last epoch that is done"),
    Column("loss", "mean cross-entropy after that epoch; lower is better"),
    Column("measured on", "which images these two come from", numeric=False),
    Column("peak lr", "the highest learning rate applied"),
    Column("seconds", "time for training and evaluating"),
)


@dataclass(frozen=True)
class Named:
    """A run, and what it is called on the page."""

    label: str
    read: Logged

    @property
    def run(self) -> Run:
        """What is known of it."""
        return self.read.run


def runs_in(paths: Sequence[Path]) -> list[Named]:
    """Returns the runs at some paths: each is a run, or a directory of runs.

    Raises:
      RunDirError: a path holds no run.
      UsageError: no run has an epoch to show.
    """
    found: list[Named] = []
    for path in paths:
        runs = [read_logged(each, name) for name, each in sorted(run_paths(path).items())]
        if not runs:
            raise RunDirError(f"{path} holds neither a run nor a comparison: give the directory of one")
        within = "" if len(paths) == 1 or len(runs) == 1 else f"{path.name}/"
        found += [Named(within + each.run.name, each) for each in runs]
    if not any(named.run.epochs for named in found):
        raise UsageError("no run has finished an epoch, so there is nothing to show: train for an epoch first")
    return _with_unique_labels(found)


def _with_unique_labels(found: list[Named]) -> list[Named]:
    labels = [named.label for named in found]
    return [
        named if labels.count(named.label) == 1 else Named(str(named.run.path), named.read)
        for named in {named.run.path.absolute(): named for named in found}.values()
    ]


def page_of_runs(found: Sequence[Named]) -> Page:
    """Returns what stands on the page of some runs."""
    shown = [named for named in found if named.run.epochs]
    best = max(shown, key=lambda named: named.run.epochs[-1].accuracy)
    return Page(
        title=f"{len(found)} run{'s' * (len(found) > 1)}",
        verdict=tuple(_verdict(found, best)),
        explanation=(
            "These runs are shown side by side as they are. Nothing was tuned or repeated for this page: runs may "
            "differ in more than their schedule, and one seed may give another order than the next.",
            "lrtrain compare trains schedules under equal conditions and says which differences are not chance.",
        ),
        table=Table(_COLUMNS, tuple(_row(named) for named in found)),
        charts=tuple(_charts(found)),
        schedules=tuple(_schedules(found)),
        facts=_facts(found),
    )


def _verdict(found: Sequence[Named], best: Named) -> Iterator[str]:
    epoch = best.run.epochs[-1]
    if len(found) == 1:
        yield (
            f"{100 * epoch.accuracy:.2f} percent of the {epoch.measured_on} images are classified right after "
            f"{len(best.run.epochs)} epochs."
        )
        return
    yield f"The highest accuracy is {100 * epoch.accuracy:.2f} percent, of {best.label}."
    yield "That says nothing of which schedule is better: see below how these runs came about."


def _row(named: Named) -> tuple[Cell, ...]:
    run, last, head = named.run, named.run.last, named.run.head
    return (
        Cell(named.label, named.label),
        Cell(str(head.schedule) if head else "-", head.schedule.name if head else None),
        Cell(run.state if run.reason is None else f"{run.state}: {run.reason}", run.state),
        Cell(f"{len(run.epochs)}{f' of {head.train.epochs}' if head else ''}", len(run.epochs)),
        Cell(str(head.train.seed), head.train.seed) if head else Cell("-"),
        number(last.accuracy if last else None, ".4f"),
        number(last.loss if last else None, ".4f"),
        Cell(last.measured_on, last.measured_on) if last else Cell("-"),
        number(run.peak_learning_rate, ".3g"),
        number(run.seconds, ".1f"),
    )


def _charts(found: Sequence[Named]) -> Iterator[Chart]:
    shown = [(index, named) for index, named in enumerate(found) if named.run.epochs and named.run.steps]
    curves = [(index, curves_of_runs(named.label, [named.read])) for index, named in shown]
    if not curves:
        return
    yield charts.rates_chart(curves)
    yield from charts.training_charts(curves)


def _schedules(found: Sequence[Named]) -> Iterator[ScheduleSection]:
    for index, named in enumerate(found):
        head, recipe = named.run.head, reproduce(named.run)
        command = (
            (f"No single command trains it again: {recipe.obstacle}.", str(named.run.path))
            if recipe.obstacle
            else ("Trains it again:", shlex.join(recipe.words))
        )
        yield ScheduleSection(
            named.label,
            charts.colour(index),
            charts.dash(index),
            f"{head.schedule.name}: {summary_of(head.schedule)}" if head else str(named.run.reason),
            options_in_words(head.schedule, head) if head else {},
            (command,),
        )


def _facts(found: Sequence[Named]) -> dict[str, str]:
    """Returns versions and devices: one value where all runs agree, else all of them."""
    values: dict[str, dict[str, None]] = {}
    for named in found:
        if named.run.head is not None:
            for name, value in {"devices": named.run.head.devices, **named.run.head.versions}.items():
                values.setdefault(name, {})[value] = None
    return {name: ", ".join(each) for name, each in values.items()}
