"""The table of a comparison, a row for each schedule: the terminal, the page and the documentation print it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from lrtrain.comparison.evidence import Evidence, RowResult
from lrtrain.comparison.statistics import OPPOSITE


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
      title: its heading.
      help: what it means, in a line.
      numeric: whether it holds numbers, which are aligned on the right.
    """

    title: str
    help: str
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """A cell: the text that is read, and the value that it is sorted by (None comes last)."""

    text: str
    value: float | str | None = None


@dataclass(frozen=True)
class Table:
    """A table whose first column holds names."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def titles(self) -> list[str]:
        """The headings."""
        return [column.title for column in self.columns]

    def sorted_by(self, title: str) -> Table:
        """Returns the table with the best value of a numeric column first: the highest accuracy, else the lowest."""
        at, sign = self.titles.index(title), -1 if title == "accuracy" else 1

        def rank(row: tuple[Cell, ...]) -> float:
            value = row[at].value
            return math.inf if value is None else sign * float(value)

        return Table(self.columns, tuple(sorted(self.rows, key=rank)))


def number(value: float | None, form: str) -> Cell:
    """Returns the cell of a number, written as the format ``form`` says; ``-`` where there is none."""
    return Cell("-") if value is None or not math.isfinite(value) else Cell(format(value, form), value)


_CellOf: TypeAlias = Callable[[RowResult], Cell]
_Columns: TypeAlias = tuple[tuple[Column, _CellOf], ...]


def _label(row: RowResult) -> Cell:
    return Cell(row.label, row.label)


def _figure(form: str, figure: Callable[[RowResult], float | None]) -> _CellOf:
    return lambda row: number(figure(row), form)


def _rate(at: int) -> _CellOf:
    return _figure(".3g", lambda row: row.rates and row.rates[at])


def _interval(row: RowResult) -> Cell:
    low, high = row.accuracy.low, row.accuracy.high
    return Cell(f"{low:.4f} to {high:.4f}", low) if math.isfinite(low) else Cell("-")


def _scale(row: RowResult) -> Cell:
    return Cell(f"{row.scale:.3g}{' (edge)' if row.on_edge else ''}", row.scale)


def _good_scales(row: RowResult) -> Cell:
    if not row.basin:
        return Cell("-")
    low, high = min(row.basin), max(row.basin)
    return Cell(f"{low:.3g} to {high:.3g}", high / low)


def _against(evidence: Evidence, row: RowResult) -> Cell:
    if row.label == evidence.baseline:
        return Cell("the reference", 0.0)
    for pair in evidence.differences:
        if {pair.first, pair.second} == {row.label, evidence.baseline} and math.isfinite(pair.mean):
            is_first = pair.first == row.label
            points = 100 * pair.mean if is_first else -100 * pair.mean
            verdict = pair.verdict if is_first else OPPOSITE[pair.verdict]
            return Cell(f"{verdict} ({points:+.2f} points, p {pair.p_adjusted:.2g})", points)
    return Cell("-")


_ACCURACY = _figure(".4f", lambda row: row.accuracy.mean)
_LOSS = _figure(".4f", lambda row: row.loss.mean)
_SECONDS = _figure(".1f", lambda row: row.seconds)

_FAIR: _Columns = (
    (Column("schedule", "the plugin, or its label in the comparison", numeric=False), _label),
    (Column("accuracy", "share of the test images classified right at the end, mean over the seeds"), _ACCURACY),
    (Column("95% interval", "BCa bootstrap interval of that mean: how far other seeds could have moved it"), _interval),
    (Column("median", "of the accuracy, over the seeds"), _figure(".4f", lambda row: row.accuracy.median)),
    (
        Column("sd", "standard deviation of the accuracy over the seeds: how much luck there is in one run"),
        _figure(".4f", lambda row: row.accuracy.standard_deviation),
    ),
    (Column("loss", "mean cross-entropy on the test images, mean over the seeds; lower is better"), _LOSS),
    (Column("scale", "the factor on its learning rates that the tuning chose; (edge): the last of its grid"), _scale),
    (Column("good scales", "those next to it whose median loss is within a standard error of its own"), _good_scales),
    (Column("peak lr", "the highest learning rate, with that factor"), _rate(1)),
    (Column("n", "runs on fresh seeds that the row is about"), _figure("d", lambda row: row.accuracy.n)),
    (Column("diverged", "those whose loss was not finite"), _figure("d", lambda row: row.accuracy.diverged)),
    (Column("seconds", "median time of a run, beside the others that trained at once"), _SECONDS),
)
_AS_IS: _Columns = (
    (Column("schedule", "its label in the comparison", numeric=False), _label),
    (Column("accuracy", "share of the test images classified right at the end"), _ACCURACY),
    (Column("loss", "mean cross-entropy on the test images; lower is better"), _LOSS),
    (Column("first lr", "the learning rate of the first step"), _rate(0)),
    (Column("peak lr", "the highest learning rate"), _rate(1)),
    (Column("last lr", "the learning rate of the last step"), _rate(2)),
    (Column("seconds", "time of the run, beside the others that trained at once"), _SECONDS),
)
_AGAINST = Column("against the reference", "the verdict, the mean difference in points of accuracy, the corrected p")
_PROBLEM = Column("problem", "why the schedule has no result", numeric=False)
COLUMNS = (*(column for column, _ in _FAIR), _AGAINST)


def table_of(evidence: Evidence, *, fair: bool) -> Table:
    """Returns the table of a comparison, in the order of its plan; ``fair`` is whether its protocol is ``"fair"``."""
    columns: _Columns = (*_FAIR, (_AGAINST, partial(_against, evidence))) if fair else _AS_IS
    if any(row.problem for row in evidence.rows):
        columns += ((_PROBLEM, lambda row: Cell(row.problem or "-", row.problem)),)
    rows = tuple(tuple(cell(row) for _, cell in columns) for row in evidence.rows)
    return Table(tuple(column for column, _ in columns), rows)
