"""A table in the formats of papers and of spreadsheets."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping

from lrtrain.comparison.table import Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def as_csv(table: Table) -> str:
    """Returns a table as CSV, with a header; cells are those that are read."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.titles)
    writer.writerows([cell.text for cell in row] for row in table.rows)
    return text.getvalue()


def as_latex(table: Table) -> str:
    """Returns a table as LaTeX; it needs the package booktabs."""
    columns = "".join("r" if column.numeric else "l" for column in table.columns)
    lines = [" & ".join(map(_escaped, texts)) + r" \\" for texts in _texts(table)]
    return "\n".join(
        [f"\\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule",
         r"\end{tabular}", ""]
    )  # fmt: skip


def _texts(table: Table) -> list[list[str]]:
    return [table.titles, *([cell.text for cell in row] for row in table.rows)]


def _escaped(text: str) -> str:
    return re.sub(r"[\\~^<>&%$#_{}]", lambda found: _SPECIAL[found[0]], text)


FORMATS: Mapping[str, Callable[[Table], str]] = {"csv": as_csv, "latex": as_latex}
