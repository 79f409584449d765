"""The page of a comparison."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lrtrain.comparison.evidence import Evidence, verdict
from lrtrain.comparison.plan import Plan, Row
from lrtrain.comparison.store import Store
from lrtrain.comparison.table import table_of
from lrtrain.report.commands import compare_command, train_command
from lrtrain.report.curves import curves_of_runs
from lrtrain.report.explanation import explained
from lrtrain.report.numbers import by_accuracy, differences, final_accuracies, tunings
from lrtrain.report.page import charts
from lrtrain.report.page.content import Chart, Page, ScheduleSection
from lrtrain.report.plugin_facts import options_in_words, summary_of
from lrtrain.runs.reading import Logged, read_run

if TYPE_CHECKING:
    from lrtrain.comparison.result import Comparison
    from lrtrain.runs.record import Head


def page_of_comparison(comparison: Comparison, evidence: Evidence, runs: Mapping[str, Sequence[Logged]]) -> Page:
    """Returns what stands on the page of a comparison.

    Args:
      comparison: the comparison.
      evidence: what it says.
      runs: those that are reported, as `lrtrain.report.curves.measured_runs` reads them.
    """
    plan = comparison.plan
    return Page(
        title=f"{len(plan.rows)} learning-rate schedules on {plan.train.dataset}",
        verdict=tuple(verdict(evidence)),
        explanation=tuple(explained(comparison.plan, evidence.baseline)),
        table=table_of(evidence, fair=plan.protocol == "fair").sorted_by("accuracy"),
        charts=tuple(_charts(comparison, evidence, runs)),
        schedules=tuple(_schedules(comparison, evidence, runs)),
        facts=_facts(comparison),
    )


def _charts(comparison: Comparison, evidence: Evidence, runs: Mapping[str, Sequence[Logged]]) -> Iterator[Chart]:
    numbers = {row.label: index for index, row in enumerate(comparison.plan.rows)}
    finals = final_accuracies(comparison)
    if any(math.isfinite(row.accuracy.mean) for row in evidence.rows):
        yield charts.accuracies_chart(by_accuracy(evidence), finals, numbers)
    if runs:
        ordered = [(numbers[label], curves_of_runs(label, each)) for label, each in runs.items()]
        yield charts.rates_chart(ordered)
        yield from charts.training_charts(ordered)
    tuned = tunings(comparison)
    if tuned:
        yield charts.basin_chart(tuned)
    pairs = differences(comparison, evidence)
    if comparison.plan.protocol == "fair" and len(pairs.labels) > 1:
        yield charts.differences_chart(pairs)


def _schedules(
    comparison: Comparison, evidence: Evidence, runs: Mapping[str, Sequence[Logged]]
) -> Iterator[ScheduleSection]:
    for index, row in enumerate(comparison.plan.rows):
        scale = evidence.row(row.label).scale
        options = options_in_words(row.spec, _head(comparison, row, runs.get(row.label, ())))
        if comparison.plan.protocol == "fair":
            options["(scale)"] = f"{scale:g} times all of its learning rates"
        yield ScheduleSection(
            row.label,
            charts.colour(index),
            charts.dash(index),
            f"{row.spec.name}: {summary_of(row.spec)}",
            options,
            tuple(_commands(comparison.plan, row, scale)),
        )


def _head(comparison: Comparison, row: Row, runs: Sequence[Logged]) -> Head | None:
    if runs:
        return runs[0].run.head
    for outcome in comparison.measured(row.label):
        path = Store(comparison.directory).place(comparison.plan, outcome.trial)
        if (path / "config.json").exists():
            return read_run(path).head
    return None


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
