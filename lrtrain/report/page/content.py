"""What stands on a page, as plain data: everything in it is text or numbers, and is escaped when it is rendered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lrtrain.comparison.table import Table


@dataclass(frozen=True)
class Chart:
    """A chart in the terms of plotly.js.

    Args:
      name: an identifier that no other chart has.
      title: its heading.
      caption: how to read it.
      traces: what is drawn; a trace that belongs to a schedule has its label as ``meta``.
      layout: axes; colours and fonts come from the page.
      height: in pixels.
    """

    name: str
    title: str
    caption: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)
    height: int = 360


@dataclass(frozen=True)
class ScheduleSection:
    """What is said of one schedule.

    Args:
      number: decides colour and style of its lines.
      label: its name on the page.
      summary: what the plugin says of itself.
      options: value of each option.
      commands: what reproduces it, each with a remark.
    """

    number: int
    label: str
    summary: str
    options: Mapping[str, str]
    commands: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Page:
    """A whole page.

    Args:
      title: the heading.
      verdict: what the evidence says, in sentences; the first is the most important.
      explanation: how it came about, in paragraphs for who has not read the documentation.
      table: the results.
      charts: from top to bottom.
      schedules: those that can be shown and hidden.
      facts: environment and versions, by name.
    """

    title: str
    verdict: tuple[str, ...]
    explanation: tuple[str, ...]
    table: Table
    charts: tuple[Chart, ...]
    schedules: tuple[ScheduleSection, ...]
    facts: Mapping[str, str]
