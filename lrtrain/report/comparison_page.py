"""The page of a comparison."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lrtrain.comparison.evidence import Evidence, Record, verdict
from lrtrain.comparison.plan import Plan, Row
from lrtrain.comparison.statistics import Summary
from lrtrain.comparison.store import Store
from lrtrain.report.commands import compare_command, train_command
from lrtrain.report.curves import curves_of_comparison
from lrtrain.report.explanation import explained
from lrtrain.report.numbers import by_accuracy, differences, final_accuracies, tunings
from lrtrain.report.page import charts
from lrtrain.report.page.content import Cell, Chart, Column, Page, Schedule, Table
from lrtrain.report.plugin_facts import options_in_words, summary_of
from lrtrain.runs.reading import read_run

if TYPE_CHECKING:
    from lrtrain.comparison.result import Comparison
    from lrtrain.runs.record import Head

_COLUMNS = (
    Column("schedule", "the plugin, or what the comparison calls it", numeric=False),
    Column("accuracy", "share of the test images that is classified right after the last step: mean over the seeds"),
    Column("95% interval", "BCa bootstrap interval of that mean: so far could other seeds have moved it"),
    Column("median", "of the accuracy, over the seeds"),
    Column("sd", "standard deviation of the accuracy over the seeds: how much luck there is in one run"),
    Column("loss", "mean cross-entropy on the test images, mean over the seeds; lower is better"),
    Column("scale", "the factor on its learning rates that the tuning chose"),
    Column("good scales", "factors about as good as that one: a wide range forgives a wrong learning rate"),
    Column("peak lr", "the highest learning rate, with that factor"),
    Column("n", "runs on fresh seeds that the row is about"),
    Column("diverged", "runs whose loss was not finite"),
    Column("seconds", "median time of a run, beside the others that trained at once"),
    Column("against the reference", "what interval and test say of the difference, and that difference in points"),
)
_AS_IS = (
    Column("schedule", "as the comparison calls it", numeric=False),
    Column("accuracy", "share of the test images that is classified right after the last step"),
    Column("loss", "mean cross-entropy on the test images; lower is better"),
    Column("first lr", "the learning rate of the first step"),
    Column("peak lr", "the highest learning rate"),
    Column("last lr", "the learning rate of the last step"),
    Column("seconds", "time of the run, beside the others that trained at once"),
)


def page_of_comparison(comparison: Comparison, evidence: Evidence) -> Page:
    """Returns what stands on the page of a comparison.

    Args:
      comparison: the comparison.
      evidence: what it says.
    """
    plan = comparison.plan
    fair = plan.protocol == "fair"
    rows = [_fair_row(record, evidence) if fair else _row(record) for record in by_accuracy(evidence)]
    return Page(
        title=f"{len(plan.rows)} learning-rate schedules on {plan.train.dataset}",
        verdict=tuple(verdict(evidence)),
        explanation=tuple(explained(comparison.plan, evidence.reference)),
        table=Table(_COLUMNS if fair else _AS_IS, tuple(rows)),
        charts=tuple(_charts(comparison, evidence)),
        schedules=tuple(_schedules(comparison, evidence)),
        facts=_facts(comparison),
    )


def _charts(comparison: Comparison, evidence: Evidence) -> Iterator[Chart]:
    numbers = {row.label: index for index, row in enumerate(comparison.plan.rows)}
    finals = final_accuracies(comparison)
    if any(math.isfinite(record.accuracy.mean) for record in evidence.records):
        yield charts.accuracies_chart(by_accuracy(evidence), finals, numbers)
    curves = curves_of_comparison(comparison)
    if curves:
        ordered = [(numbers[each.label], each) for each in curves]
        yield charts.rates_chart(ordered)
        yield from charts.training_charts(ordered)
    tuned = tunings(comparison)
    if tuned:
        yield charts.basin_chart(tuned)
    pairs = differences(comparison, evidence)
    if comparison.plan.protocol == "fair" and len(pairs.labels) > 1:
        yield charts.differences_chart(pairs)


def _fair_row(record: Record, evidence: Evidence) -> tuple[Cell, ...]:
    accuracy, loss = record.accuracy, record.loss
    edge = " (edge)" if record.on_edge else ""
    good = f"{min(record.basin):.3g} to {max(record.basin):.3g}" if record.basin else "-"
    width = max(record.basin) / min(record.basin) if record.basin else None
    return (
        Cell(record.label, record.label),
        _number(accuracy.mean, ".4f"),
        Cell(_interval(accuracy), accuracy.low if math.isfinite(accuracy.low) else None),
        _number(accuracy.median, ".4f"),
        _number(accuracy.standard_deviation, ".4f"),
        _number(loss.mean, ".4f"),
        Cell(f"{record.scale:.3g}{edge}", record.scale),
        Cell(good, width),
        _number(record.rates[1] if record.rates else math.nan, ".3g"),
        Cell(str(accuracy.n), accuracy.n),
        Cell(str(accuracy.diverged), accuracy.diverged),
        _number(record.seconds, ".1f"),
        _against(record, evidence),
    )


def _against(record: Record, evidence: Evidence) -> Cell:
    if record.problem is not None:
        return Cell(record.problem)
    if record.label == evidence.reference:
        return Cell("the reference", 0.0)
    pairs = {(pair.first, pair.second): (pair, 1) for pair in evidence.differences}
    pairs |= {(pair.second, pair.first): (pair, -1) for pair in evidence.differences}
    if (record.label, evidence.reference) not in pairs:
        return Cell("-")
    pair, sign = pairs[record.label, evidence.reference]
    words = {"better": "better", "worse": "worse"} if sign == 1 else {"better": "worse", "worse": "better"}
    points = 100 * sign * pair.mean
    return Cell(f"{words.get(pair.verdict, 'tie')} ({points:+.2f}, p {pair.p_adjusted:.2g})", points)


def _row(record: Record) -> tuple[Cell, ...]:
    if record.problem is not None:
        return (
            Cell(record.label, record.label),
            Cell(record.problem),
            *[Cell("-")] * 4,
            _number(record.seconds, ".1f"),
        )
    rates = record.rates or (math.nan,) * 3
    return (
        Cell(record.label, record.label),
        _number(record.accuracy.mean, ".4f"),
        _number(record.loss.mean, ".4f"),
        *(_number(rate, ".3g") for rate in rates),
        _number(record.seconds, ".1f"),
    )


def _number(value: float, form: str) -> Cell:
    return Cell(format(value, form), value) if math.isfinite(value) else Cell("-")


def _interval(summary: Summary) -> str:
    return f"{summary.low:.4f} to {summary.high:.4f}" if math.isfinite(summary.low) else "-"


def _schedules(comparison: Comparison, evidence: Evidence) -> Iterator[Schedule]:
    for index, row in enumerate(comparison.plan.rows):
        scale = evidence.record(row.label).scale
        options = options_in_words(row.spec, _head(comparison, index, row))
        if comparison.plan.protocol == "fair":
            options["(scale)"] = f"{scale:g} times all of its learning rates"
        yield Schedule(
            row.label,
            charts.colour(index),
            charts.dash(index),
            f"{row.spec.name}: {summary_of(row.spec)}",
            options,
            tuple(_commands(comparison.plan, row, scale)),
        )


def _head(comparison: Comparison, index: int, row: Row) -> Head | None:
    for outcome in comparison.measured(row.label):
        path = Store(comparison.directory).path / "runs" / outcome.trial.directory(index)
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
