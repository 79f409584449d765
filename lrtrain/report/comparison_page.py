"""The page of a comparison."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lrtrain.comparison.evidence import verdict
from lrtrain.comparison.plan import Plan, Row
from lrtrain.comparison.store import Store
from lrtrain.comparison.table import table_of
from lrtrain.plugins.spec import Spec
from lrtrain.report.numbers import by_accuracy, curves_of_runs, differences, final_accuracies, tunings
from lrtrain.report.page import charts
from lrtrain.report.page.render import Chart, Page, ScheduleSection
from lrtrain.report.words import compare_command, explained, options_in_words, summary_of, train_command
from lrtrain.runs.reading import Logged, read_run

if TYPE_CHECKING:
    from lrtrain.comparison.result import Comparison


def page_of_comparison(comparison: Comparison, runs: Mapping[str, Sequence[Logged]]) -> Page:
    """Returns what stands on the page of a comparison; ``runs`` are from `lrtrain.report.numbers.measured_runs`."""
    plan, evidence = comparison.plan, comparison.evidence
    return Page(
        title=f"{len(plan.rows)} learning-rate schedules on {plan.train.dataset}",
        verdict=tuple(verdict(evidence)),
        explanation=tuple(explained(plan, evidence.baseline)),
        table=table_of(evidence, fair=plan.protocol == "fair").sorted_by("accuracy"),
        charts=tuple(_charts(comparison, runs)),
        schedules=tuple(_schedules(comparison, runs)),
        facts=_facts(comparison),
    )


def _charts(comparison: Comparison, runs: Mapping[str, Sequence[Logged]]) -> Iterator[Chart]:
    numbers = {row.label: index for index, row in enumerate(comparison.plan.rows)}
    if any(math.isfinite(row.accuracy.mean) for row in comparison.evidence.rows):
        yield charts.accuracies_chart(by_accuracy(comparison), final_accuracies(comparison), numbers)
    if runs:
        ordered = [(numbers[label], curves_of_runs(label, each)) for label, each in runs.items()]
        yield from charts.curve_charts(ordered)
    tuned = tunings(comparison)
    if tuned:
        yield charts.basin_chart(tuned)
    pairs = differences(comparison)
    if comparison.plan.protocol == "fair" and len(pairs.labels) > 1:
        yield charts.differences_chart(pairs)


def _schedules(comparison: Comparison, runs: Mapping[str, Sequence[Logged]]) -> Iterator[ScheduleSection]:
    for number, row in enumerate(comparison.plan.rows):
        scale = comparison.evidence.row(row.label).scale
        options = options_in_words(_with_options(comparison, row, runs.get(row.label, ())))
        if comparison.plan.protocol == "fair":
            options["(scale)"] = f"{scale:g} times all of its learning rates"
        commands = tuple(_commands(comparison.plan, row, scale))
        yield ScheduleSection(number, row.label, summary_of(row.spec), options, commands)


def _with_options(comparison: Comparison, row: Row, runs: Sequence[Logged]) -> Spec:
    """Returns a schedule with all of its options, where a run has noted them, else with those that were given."""
    paths = (Store(comparison.directory).place(comparison.plan, each.trial) for each in comparison.measured(row.label))
    noted = (read_run(path) for path in paths if (path / "config.json").exists())
    run = runs[0].run if runs else next(noted, None)
    return run.head.schedule if run and run.head else row.spec


def _commands(plan: Plan, row: Row, scale: float) -> Iterator[tuple[str, str]]:
    whole, alone = compare_command(plan), train_command(plan, row.spec)
    if whole is not None:
        yield "Reproduces its runs, with the whole comparison:", whole
    if alone is not None and plan.protocol == "as-is":
        yield "Reproduces this run:", alone
    elif alone is not None:
        yield f"Trains it alone, on all training images, at a scale of 1 (the comparison chose {scale:g}):", alone


def _facts(comparison: Comparison) -> dict[str, str]:
    about: dict[str, Any] = dict(comparison.about)
    device = about.get("device", {})
    facts = {"devices": f"{device.get('count')} x {device.get('kind')}", "runs": str(len(comparison.outcomes))}
    facts |= {
        f"train {name}": str(value) for name, value in comparison.plan.train.to_json().items() if value is not None
    }
    return facts | {name: str(version) for name, version in about.get("versions", {}).items()}
