"""From what stands on a page to its HTML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources
from string import Template

from lrtrain.comparison.table import Cell, Table
from lrtrain.extras import check_extra
from lrtrain.report.page.charts import colour, dash
from lrtrain.report.page.content import Chart, Page, ScheduleSection
from lrtrain.runs.record import finite


def render(page: Page) -> str:
    """Returns a page as HTML that contains all that it needs, and loads nothing.

    Raises:
      UsageError: plotly is not installed.
    """
    check_extra("compare", "a report")
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


_DASHES = {"solid": "", "dash": "7 4", "dot": "2 3", "dashdot": "7 3 2 3"}


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
