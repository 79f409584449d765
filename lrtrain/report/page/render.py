"""What stands on a page, as plain data, and its HTML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from string import Template
from typing import Any

from lrtrain.comparison.table import Cell, Table
from lrtrain.errors import LrtrainError
from lrtrain.figures import COLOURS
from lrtrain.plugins.discovery import find_plugin
from lrtrain.plugins.spec import Spec, format_value
from lrtrain.runs.record import finite


@dataclass(frozen=True)
class Chart:
    """A chart in the terms of plotly.js, under a name that no other has; the caption says how to read it.

    A trace that belongs to a schedule has its label as ``meta``; colours and fonts come from the page.
    """

    name: str
    title: str
    caption: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)
    height: int = 360


@dataclass(frozen=True)
class ScheduleSection:
    """What is said of one schedule: what the plugin says of itself, and what reproduces it, each with a remark.

    The number decides colour and style of its lines: a schedule without curves has one too.
    """

    number: int
    label: str
    summary: str
    options: Mapping[str, str]
    commands: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Page:
    """A whole page, in this order; everything in it is text or numbers, and is escaped when it is rendered.

    The first sentence of the verdict is the most important; the facts are environment and versions.
    """

    title: str
    verdict: tuple[str, ...]
    explanation: tuple[str, ...]
    table: Table
    charts: tuple[Chart, ...]
    schedules: tuple[ScheduleSection, ...]
    facts: Mapping[str, str]


_DASHES = {"solid": "", "dash": "7 4", "dot": "2 3", "dashdot": "7 3 2 3"}
# In place of black, which a dark page would swallow.
_PALETTE = (*COLOURS[:-1], "#808890")


def colour(number: int) -> str:
    """Returns the colour of the schedule of that number."""
    return _PALETTE[number % len(_PALETTE)]


def dash(number: int) -> str:
    """Returns the line style of the schedule of that number, as plotly names it."""
    return [*_DASHES][number % len(_DASHES)]


def section(
    number: int, label: str, spec: Spec, commands: tuple[tuple[str, str], ...], more: Mapping[str, str] | None = None
) -> ScheduleSection:
    """Returns what is said of a schedule, whether its plugin is installed or not; ``more`` follows its options."""
    try:
        summary = find_plugin(spec.name).summary
    except LrtrainError:
        summary = "the plugin is not installed here"
    options = {name: format_value(value) for name, value in spec.options.items()}
    return ScheduleSection(number, label, f"{spec.name}: {summary}", options | dict(more or {}), commands)


def render(page: Page) -> str:
    """Returns a page as HTML that contains all that it needs, and loads nothing."""
    from plotly.offline import get_plotlyjs

    charts = {chart.name: {"traces": chart.traces, "layout": chart.layout} for chart in page.charts}
    filled = Template(_file("page.html")).substitute(
        title=escape(page.title),
        style=_file("page.css"),
        verdict=_paragraphs(page.verdict),
        explanation=_paragraphs(page.explanation),
        table=_table(page.table),
        toggles="\n".join(map(_toggle, page.schedules)),
        charts="\n".join(map(_chart, page.charts)),
        schedules="\n".join(map(_schedule, page.schedules)),
        facts=_definitions(page.facts),
        # In a script element, only "<" could end it or begin a comment.
        data=json.dumps(finite(charts), allow_nan=False).replace("<", "\\u003c"),
        plotly=get_plotlyjs(),
        script=_file("page.js"),
    )
    # The name of a directory may be any bytes, and a page is UTF-8.
    return filled.encode(errors="backslashreplace").decode()


def _file(name: str) -> str:
    return (resources.files("lrtrain.report.page") / name).read_text(encoding="utf-8")


def _paragraphs(texts: Iterable[str]) -> str:
    return "\n".join(f"<p>{escape(text)}</p>" for text in texts)


def _definitions(values: Mapping[str, str]) -> str:
    return "\n".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in values.items())


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col" class="{"number" if column.numeric else "text"}" aria-sort="none">'
        f'<button type="button" title="{escape(column.help)}">{escape(column.title)}</button></th>'
        for column in table.columns
    )
    body = "\n".join(
        "<tr>" + "".join(_cell(cell, column.numeric) for cell, column in zip(row, table.columns, strict=True)) + "</tr>"
        for row in table.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _cell(cell: Cell, numeric: bool) -> str:
    value = "" if cell.value is None else escape(str(cell.value))
    return f'<td class="{"number" if numeric else "text"}" data-value="{value}">{escape(cell.text)}</td>'


def _toggle(schedule: ScheduleSection) -> str:
    return (
        f'<label class="toggle"><input type="checkbox" checked data-label="{escape(schedule.label)}">'
        f'<svg width="26" height="10" aria-hidden="true"><line x1="0" y1="5" x2="26" y2="5" stroke-width="3" '
        f'stroke="{colour(schedule.number)}" stroke-dasharray="{_DASHES[dash(schedule.number)]}"/></svg>'
        f"{escape(schedule.label)}</label>"
    )


def _chart(chart: Chart) -> str:
    name = escape(chart.name)
    return (
        f'<figure id="figure-{name}"><h3>{escape(chart.title)}</h3>'
        f'<div class="chart" id="{name}" style="height:{chart.height}px" role="img" '
        f'aria-label="{escape(chart.title)}"></div><figcaption>{escape(chart.caption)}</figcaption></figure>'
    )


def _schedule(schedule: ScheduleSection) -> str:
    commands = "".join(
        f"<p>{escape(remark)}</p><pre><code>{escape(command)}</code></pre>" for remark, command in schedule.commands
    )
    options = _definitions(schedule.options)
    return (
        f"<details><summary>{escape(schedule.label)}</summary><p>{escape(schedule.summary)}</p>"
        f"<dl>{options}</dl>{commands}</details>"
    )
