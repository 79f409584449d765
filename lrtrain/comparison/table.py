"""The table of a comparison, a row for each schedule: the terminal, the page and the documentation print it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import TypeAlias

from lrtrain.comparison.evidence import Evidence, RowResult
from lrtrain.comparison.statistics import OPPOSITE, PairedDifference
from lrtrain.text_table import lines
from lrtrain.workloads.headline import ACCURACY, Headline
from lrtrain.workloads.wording import Wording, wording


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
    """A table whose first column holds names; the best value of the ``headline`` may be the highest."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    headline: Headline = ACCURACY

    @property
    def titles(self) -> list[str]:
        """The headings."""
        return [column.title for column in self.columns]

    def __str__(self) -> str:
        """The table as plain text, numbers aligned on the right."""
        columns = [[column.title, *(row[at].text for row in self.rows)] for at, column in enumerate(self.columns)]
        return "\n".join(lines(columns, [column.numeric for column in self.columns]))

    def html(self) -> str:
        """Returns the table as HTML, without style or script: notebooks show it."""
        head = "".join(f'<th title="{escape(column.help)}">{escape(column.title)}</th>' for column in self.columns)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell.text)}</td>' for cell in row)}</tr>" for row in self.rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def sorted_by(self, title: str) -> Table:
        """Returns the table with the best value of a numeric column first: of any but the headline the lowest."""
        at, by = self.titles.index(title), self.headline if title == self.headline.name else Headline(title, "min")

        def rank(row: tuple[Cell, ...]) -> float:
            value = row[at].value
            return math.inf if value is None else by.rank(float(value))

        return dataclasses.replace(self, rows=tuple(sorted(self.rows, key=rank)))


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


def _interval(headline: Headline, row: RowResult) -> Cell:
    low, high = row.score.low, row.score.high
    return Cell(f"{headline.text(low)} to {headline.text(high)}", low) if math.isfinite(low) else Cell("-")


def _scale(row: RowResult) -> Cell:
    return Cell(f"{row.scale:.3g}{' (edge)' if row.on_edge else ''}", row.scale)


def _good_scales(row: RowResult) -> Cell:
    if not row.basin:
        return Cell("-")
    low, high = min(row.basin), max(row.basin)
    return Cell(f"{low:.3g} to {high:.3g}", high / low)


def _pair(evidence: Evidence, row: RowResult) -> tuple[PairedDifference, int] | None:
    """Returns the pair of a row and the reference, and -1 where the row is its second; None where none was tested."""
    for pair in evidence.differences:
        if {pair.first, pair.second} == {row.label, evidence.baseline} and math.isfinite(pair.mean):
            return pair, 1 if pair.first == row.label else -1
    return None


def _verdict(evidence: Evidence, row: RowResult) -> Cell:
    if row.label == evidence.baseline:
        return Cell("reference", 0.0)
    if (found := _pair(evidence, row)) is None:
        return Cell("not tested")
    pair, turn = found
    return Cell(pair.verdict if turn > 0 else OPPOSITE[pair.verdict], evidence.headline.factor * turn * pair.mean)


def _difference(evidence: Evidence, row: RowResult) -> Cell:
    if (found := _pair(evidence, row)) is None:
        return Cell("-")
    pair, turn = found
    headline, mean = evidence.headline, turn * pair.mean
    low, high = (headline.difference(end, "+") for end in sorted((turn * pair.low, turn * pair.high)))
    p = "" if pair.verdict == "tie" else f", p {pair.p_adjusted:.2g}"
    interval = f" ({low} to {high}{p})" if math.isfinite(pair.low) else ""
    said = f"{headline.difference(mean, '+')}{interval}"
    return Cell(said, headline.factor * mean)


def _score(headline: Headline, words: Wording, over: str = "") -> tuple[Column, _CellOf]:
    meaning = f"{headline.meaning(f' of the test {words.examples}')} at the end{over}{headline.remark}"
    return Column(headline.name, meaning), _figure(headline.form, lambda row: row.score.mean)


def _loss(headline: Headline, words: Wording, over: str = "") -> _Columns:
    """Returns the column of the loss; none where it is the headline."""
    meaning = f"mean {words.loss} on the test {words.examples}{over}; lower is better"
    return () if headline.is_loss else ((Column("loss", meaning), _figure(headline.form, lambda row: row.loss.mean)),)


_SECONDS = _figure(".1f", lambda row: row.seconds)
_OVER_SEEDS = ", mean over the seeds"


_RUNS = (Column("n", "runs on fresh seeds that the row is about"), _figure("d", lambda row: row.score.n))


def _spread(headline: Headline) -> _Columns:
    name, form = headline.name, headline.form
    return (
        (
            Column("95% interval", "Student's t interval of that mean: how far other seeds could have moved it"),
            partial(_interval, headline),
        ),
        (Column("median", f"of the {name}, over the seeds"), _figure(form, lambda row: row.score.median)),
        (
            Column("sd", f"standard deviation of the {name} over the seeds: how much luck there is in one run"),
            _figure(form, lambda row: row.score.standard_deviation),
        ),
    )


def _compared(evidence: Evidence) -> _Columns:
    unit = evidence.headline.unit
    return (
        (
            Column("verdict", "against the reference; a tie is not distinguished from it, which is not equal"),
            partial(_verdict, evidence),
        ),
        (
            Column(
                "difference", f"from the reference, in {unit}, with its 95% interval and the corrected p of a claim"
            ),
            partial(_difference, evidence),
        ),
    )


def _given(evidence: Evidence) -> _Columns:
    """Returns the columns for results that were measured elsewhere."""
    headline = evidence.headline
    return (
        (Column("label", "what was compared", numeric=False), _label),
        (
            Column(headline.name, f"mean over the runs{headline.remark}"),
            _figure(headline.form, lambda row: row.score.mean),
        ),
        *(_compared(evidence) if evidence.baseline else ()),
        *_spread(headline),
        _RUNS,
    )


def _fair(evidence: Evidence, words: Wording) -> _Columns:
    headline = evidence.headline
    return (
        (Column("schedule", "the plugin, or its label in the comparison", numeric=False), _label),
        _score(headline, words, _OVER_SEEDS),
        *_compared(evidence),
        *_spread(headline),
        *_loss(headline, words, _OVER_SEEDS),
        (
            Column("scale", "the factor on its learning rates that the tuning chose; (edge): the last that was tried"),
            _scale,
        ),
        (
            Column("good scales", "about as good: the fitted curve is within the spread of single runs there"),
            _good_scales,
        ),
        (Column("peak lr", "the highest learning rate, with that factor"), _rate(1)),
        _RUNS,
        (
            Column("failed", "those that diverged, raised, or ended no better than a guess; the worst results"),
            _figure("d", lambda row: row.score.diverged + row.score.collapsed),
        ),
        (Column("seconds", "median time of a run, beside the others that trained at once"), _SECONDS),
    )


def _as_is(headline: Headline, words: Wording) -> _Columns:
    return (
        (Column("schedule", "its label in the comparison", numeric=False), _label),
        _score(headline, words),
        *_loss(headline, words),
        (Column("first lr", "the learning rate of the first step"), _rate(0)),
        (Column("peak lr", "the highest learning rate"), _rate(1)),
        (Column("last lr", "the learning rate of the last step"), _rate(2)),
        (Column("seconds", "time of the run, beside the others that trained at once"), _SECONDS),
    )


_PROBLEM = Column("problem", "why the schedule has no result", numeric=False)
COLUMNS = tuple(column for column, _ in _fair(Evidence("", (), (), (), enough=False), wording([])))


def table_of(evidence: Evidence, *, fair: bool, words: Wording | None = None) -> Table:
    """Returns the table of a comparison, in the order of its plan; ``fair`` is whether its protocol is ``"fair"``.

    The ``words`` are those of its workload, for the texts that say what a column is.
    """
    headline, words = evidence.headline, words or wording([])
    return _table(evidence, _fair(evidence, words) if fair else _as_is(headline, words))


def table_of_given(evidence: Evidence) -> Table:
    """Returns the table of results that were measured elsewhere, in their order."""
    return _table(evidence, _given(evidence))


def _table(evidence: Evidence, columns: _Columns) -> Table:
    if any(row.problem for row in evidence.rows):
        columns += ((_PROBLEM, lambda row: Cell(row.problem or "-", row.problem)),)
    rows = tuple(tuple(cell(row) for _, cell in columns) for row in evidence.rows)
    return Table(tuple(column for column, _ in columns), rows, evidence.headline)
