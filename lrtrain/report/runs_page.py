"""The page of runs that are no comparison, or of several: what they look like, and no verdict."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lrtrain.comparison.table import Cell, Column, Table, number
from lrtrain.errors import RunDirError, UsageError
from lrtrain.plugins.discovery import DEFAULT_WORKLOAD
from lrtrain.report.numbers import curves_of_runs
from lrtrain.report.page import charts
from lrtrain.report.page.render import Chart, Page, ScheduleSection, section
from lrtrain.runs.command import reproduce
from lrtrain.runs.reading import Logged, read_logged, run_paths
from lrtrain.runs.record import Run
from lrtrain.workloads.headline import Headline
from lrtrain.workloads.wording import Wording, title_of, wording


@dataclass(frozen=True)
class _Kind:
    """What is said of all runs of a page: the number that they are judged by, where that is one, and the words."""

    headline: Headline
    words: Wording
    workloads: tuple[str, ...]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> _Kind:
        """Returns that of some runs; the loss is shown of those that are judged by different numbers."""
        trains = [run.head.train for run in runs if run.head]
        headlines = {run.headline for run in runs if run.epochs}
        titles = dict.fromkeys(title_of(train.workload, DEFAULT_WORKLOAD) for train in trains)
        return cls(
            headlines.pop() if len(headlines) == 1 else Headline(),
            wording(train.workload for train in trains),
            tuple(titles),
        )

    @property
    def title(self) -> str:
        """The end of the page's title: a workload that is not the default is named."""
        return "" if self.workloads in {(), (DEFAULT_WORKLOAD,)} else f" of {', '.join(self.workloads)}"


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


def table_of_runs(found: Sequence[Logged]) -> Table:
    """Returns the table of some runs, a row for each."""
    runs = [each.run for each in found]
    kind = _Kind.of(runs)
    return Table(_columns(kind), tuple(_row(run, kind.headline) for run in runs), kind.headline)


def page_of_runs(found: Sequence[Logged]) -> Page:
    """Returns what stands on the page of some runs."""
    runs = [each.run for each in found]
    kind = _Kind.of(runs)
    return Page(
        title=f"{len(runs)} run{'s' * (len(runs) > 1)}{kind.title}",
        verdict=tuple(_verdict(runs, kind)),
        explanation=(
            "These runs are shown side by side as they are. Nothing was tuned or repeated for this page: runs may "
            "differ in more than their schedule, and one seed may give another order than the next.",
            "lrtrain compare trains schedules under equal conditions and says which differences are not chance.",
        ),
        table=table_of_runs(found),
        charts=tuple(_charts(found, kind)),
        schedules=tuple(map(_schedule, range(len(runs)), runs)),
        facts=_facts(runs),
    )


def _verdict(runs: Sequence[Run], kind: _Kind) -> Iterator[str]:
    if len(kind.workloads) > 1:
        yield f"These runs train different workloads, {' and '.join(kind.workloads)}: their results cannot be compared."
        return
    headline = kind.headline
    best = min((run for run in runs if run.epochs), key=lambda run: headline.rank(run.epochs[-1].value(headline.name)))
    epoch = best.epochs[-1]
    value = epoch.value(headline.name)
    if len(runs) == 1:
        yield f"{headline.sentence(value, epoch.measured_on, kind.words.examples)} after {len(best.epochs)} epochs."
        return
    yield f"The {headline.best_name} is {headline.spoken(value)}, of {best.name}."
    yield "That says nothing of which schedule is better: see below how these runs came about."


def _columns(kind: _Kind) -> tuple[Column, ...]:
    headline, words = kind.headline, kind.words
    meaning = f"{headline.meaning()} after the last epoch that is done{headline.remark}"
    both = "these two come" if not headline.is_loss else "it comes"
    return (
        Column("run", "its directory", numeric=False),
        Column("schedule", "the plugin with its options", numeric=False),
        Column("state", "whether all epochs are done", numeric=False),
        Column("epochs", "epochs done"),
        Column("seed", f"decides the initial weights and the order of the {words.examples}"),
        Column(headline.name, meaning),
        *(() if headline.is_loss else (Column("loss", f"mean {words.loss} after that epoch; lower is better"),)),
        Column("measured on", f"which {words.examples} {both} from", numeric=False),
        Column("peak lr", "the highest learning rate applied"),
        Column("seconds", "time for training and evaluating"),
    )


def _row(run: Run, headline: Headline) -> tuple[Cell, ...]:
    last, head = run.last, run.head
    measures = ["loss"] if headline.is_loss else [headline.name, "loss"]
    return (
        Cell(run.name, run.name),
        Cell(str(head.schedule) if head else "-", head.schedule.name if head else None),
        Cell(run.state if run.reason is None else f"{run.state}: {run.reason}", run.state),
        Cell(f"{len(run.epochs)}{f' of {head.train.epochs}' if head else ''}", len(run.epochs)),
        Cell(str(head.train.seed), head.train.seed) if head else Cell("-"),
        *(number(last.value(name) if last else None, headline.form) for name in measures),
        Cell(last.measured_on, last.measured_on) if last else Cell("-"),
        number(run.peak_learning_rate, ".3g"),
        number(run.seconds, ".1f"),
    )


def _charts(found: Sequence[Logged], kind: _Kind) -> Iterator[Chart]:
    curves = [
        (index, curves_of_runs(each.run.name, [each], kind.headline))
        for index, each in enumerate(found)
        if each.run.epochs and each.run.steps
    ]
    if curves:
        yield from charts.curve_charts(curves, kind.headline, kind.words)


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
