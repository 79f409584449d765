"""Tables: drawn by rich on a terminal, plain columns elsewhere, JSON for programs; no cell can act on the terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Sequence
from typing import Any

import click

from lrtrain.cli.terminal import printable
from lrtrain.text_table import BETWEEN, lines

# Text that is longer takes several lines on a terminal, when there is no room.
_TEXT = 24


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str] = (), dispensable: Sequence[str] = ()
) -> None:
    """Prints rows under a header; the columns of ``numbers`` are aligned on the right.

    A terminal that is too narrow for all columns does without the ``dispensable`` ones, the first one first.
    """
    columns = [[printable(cell) for cell in column] for column in zip(header, *rows, strict=True)]
    right = [title in numbers for title in header]
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        _draw(columns, right, [list(header).index(title) for title in dispensable])
    else:
        click.echo("\n".join(lines(columns, right)))


def print_lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows under a header; the last column takes what it needs, on a terminal too."""
    columns = [[printable(cell) for cell in column] for column in zip(header, *rows, strict=True)]
    title, *rest = lines(columns, [False] * len(header))
    click.echo("\n".join([click.style(title, bold=True), *rest]))


def print_json(values: Any) -> None:
    """Prints values for programs."""
    click.echo(json.dumps(values, indent=2))


def _draw(columns: Sequence[Sequence[str]], right: Sequence[bool], dispensable: Sequence[int]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    least = [
        _width(column) if is_right else min(_width(column), _TEXT)
        for column, is_right in zip(columns, right, strict=True)
    ]
    shown = _that_fit(least, dispensable, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, len(BETWEEN), 0, 0), header_style="bold")
    for at in shown:
        table.add_column(
            Text(columns[at][0]), justify="right" if right[at] else "left", min_width=least[at], overflow="fold"
        )
    for row in zip(*(columns[at][1:] for at in shown), strict=True):
        table.add_row(*map(Text, row))
    console.print(table)


def _that_fit(widths: Sequence[int], dispensable: Sequence[int], room: int) -> list[int]:
    """Returns the columns that are shown; a column that is not dispensable is always shown."""
    shown = list(range(len(widths)))
    for at in dispensable:
        if sum(widths[each] for each in shown) + len(BETWEEN) * (len(shown) - 1) <= room:
            break
        shown.remove(at)
    return shown


def _width(column: Sequence[str]) -> int:
    return max(map(len, column))
