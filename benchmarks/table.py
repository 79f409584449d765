"""Statistics of rounds, and the tables that show them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Statistics of some rounds.

    Args:
      median: the middle one.
      lowest: the smallest.
      highest: the largest.
    """

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Summarises at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Ratio:
    """How two series compare: the ratio of their medians, and the range of the ratios round by round."""

    of_medians: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float], base: Sequence[float]) -> Ratio:
        """Compares two series of the same rounds."""
        by_round = [value / other for value, other in zip(values, base, strict=True)]
        return cls(statistics.median(values) / statistics.median(base), min(by_round), max(by_round))


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
      name: what was measured.
      values: one for each round, in the unit of the table; none if there are no figures.
      note: a remark, such as why it has no figures.
    """

    name: str
    values: Sequence[float] = ()
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows that belong together.

    Args:
      title: what is compared.
      unit: of the values.
      rows: at least one.
      about: how it was measured.
      base: the name of the row that the others are compared with, if they are.
    """

    title: str
    unit: str
    rows: Sequence[Row]
    about: str
    base: str | None = None

    def values(self, name: str) -> Sequence[float]:
        """Returns the values of a row, none if there is no such row."""
        return next((row.values for row in self.rows if row.name == name), ())

    def median(self, name: str) -> float | None:
        """Returns the median of a row, None if it has no figures."""
        values = self.values(name)
        return statistics.median(values) if values else None

    def ratio(self, name: str, base: str | None = None) -> float | None:
        """Returns the median of a row by that of another, or of the base; None if one has no figures."""
        mine, other = self.median(name), self.median(base or self.base or "")
        return mine / other if mine and other else None

    def markdown(self) -> str:
        """Returns the table with its title, in Markdown that reads well as it is."""
        head = [f"{self.title}, {self.unit}", "median", "lowest", "highest"]
        head += [f"/ {self.base}", "by round"] if self.base else []
        lines = [[*head, "rounds", "note"], *map(self._cells, self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(head) + 2)]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:-1]), "-" * widths[-1]]
        laid_out = [_line(line, widths) for line in [lines[0], rule, *lines[1:]]]
        return f"## {self.title}\n\n{self.about}\n\n" + "\n".join(laid_out) + "\n"

    def _cells(self, row: Row) -> list[str]:
        if not row.values:
            return [row.name, *[""] * (5 if self.base else 3), "0", row.note]
        summary = Summary.of(row.values)
        figures = [number(summary.median), number(summary.lowest), number(summary.highest)]
        return [row.name, *figures, *self._ratio(row), str(len(row.values)), row.note]

    def _ratio(self, row: Row) -> list[str]:
        if self.base is None:
            return []
        base = self.values(self.base)
        if len(base) != len(row.values):
            return ["", ""]
        ratio = Ratio.of(row.values, base)
        return [f"{ratio.of_medians:.3g}", f"{ratio.lowest:.3g} to {ratio.highest:.3g}"]


def number(value: float) -> str:
    """Returns a figure with three digits, or more before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *middle, last = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in middle), last[0].ljust(last[1])]
    return f"| {' | '.join(padded)} |"
