"""The page of runs that are no comparison, or of several: what they look like, and no verdict."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from lrtrain.comparison.table import Cell, Column, Table, number
from lrtrain.errors import RunDirError, UsageError
from lrtrain.report.numbers import curves_of_runs
from lrtrain.report.page import charts
from lrtrain.report.page.render import Chart, Page, ScheduleSection, section
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


def runs_in(paths: Sequence[Path]) -> list[Logged]:
    """Returns the runs at some paths, each of which is a run or a directory of runs, under names that no two share.

    Raises:
      RunDirError: a path holds no run.
      UsageError: no run has an epoch to show.
    """
    found: list[Logged] = []
    for path in paths:
        places = run_paths(path)
        if not places:
            raise RunDirError(f"{path} holds neither a run nor a comparison: give the directory of one")
        within = "" if len(paths) == 1 or len(places) == 1 else f"{path.name}/"
        found += [read_logged(each, within + name) for name, each in sorted(places.items())]
    if not any(each.run.epochs for each in found):
        raise UsageError("no run has finished an epoch, so there is nothing to show: train for an epoch first")
    names = [each.run.name for each in found]
    return [
        each if names.count(each.run.name) == 1 else _named_by_path(each)
        for each in {each.run.path.absolute(): each for each in found}.values()
    ]


def _named_by_path(read: Logged) -> Logged:
    return Logged(dataclasses.replace(read.run, name=str(read.run.path)), read.learning_rates)


def page_of_runs(found: Sequence[Logged]) -> Page:
    """Returns what stands on the page of some runs."""
    runs = [each.run for each in found]
    return Page(
        title=f"{len(runs)} run{'s' * (len(runs) > 1)}",
        verdict=tuple(_verdict(runs)),
        explanation=(
            "These runs are shown side by side as they are. Nothing was tuned or repeated for this page: runs may "
            "differ in more than their schedule, and one seed may give another order than the next.",
            "lrtrain compare trains schedules under equal conditions and says which differences are not chance.",
        ),
        table=Table(_COLUMNS, tuple(map(_row, runs))),
        charts=tuple(_charts(found)),
        schedules=tuple(map(_schedule, range(len(runs)), runs)),
        facts=_facts(runs),
    )


def _verdict(runs: Sequence[Run]) -> Iterator[str]:
    best = max((run for run in runs if run.epochs), key=lambda run: run.epochs[-1].accuracy)
    epoch = best.epochs[-1]
    if len(runs) == 1:
        yield (
            f"{100 * epoch.accuracy:.2f} percent of the {epoch.measured_on} images are classified right after "
            f"{len(best.epochs)} epochs."
        )
        return
    yield f"The highest accuracy is {100 * epoch.accuracy:.2f} percent, of {best.name}."
    yield "That says nothing of which schedule is better: see below how these runs came about."


def _row(run: Run) -> tuple[Cell, ...]:
    last, head = run.last, run.head
    return (
        Cell(run.name, run.name),
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


def _charts(found: Sequence[Logged]) -> Iterator[Chart]:
    curves = [
        (index, curves_of_runs(each.run.name, [each]))
        for index, each in enumerate(found)
        if each.run.epochs and each.run.steps
    ]
    if curves:
        yield from charts.curve_charts(curves)


def _schedule(index: int, run: Run) -> ScheduleSection:
    head, recipe = run.head, reproduce(run)
    command = (
        (f"No single command trains it again: {recipe.obstacle}.", str(run.path))
        if recipe.obstacle
        else ("Trains it again:", shlex.join(recipe.words))
    )
    if head is None:
        return ScheduleSection(index, run.name, str(run.reason), {}, (command,))
    return section(index, run.name, head.schedule, (command,))


def _facts(runs: Sequence[Run]) -> dict[str, str]:
    """Returns versions and devices: one value where all runs agree, else all of them."""
    values: dict[str, dict[str, None]] = {}
    for run in runs:
        if run.head is not None:
            for name, value in {"devices": run.head.devices, **run.head.versions}.items():
                values.setdefault(name, {})[value] = None
    return {name: ", ".join(each) for name, each in values.items()}
