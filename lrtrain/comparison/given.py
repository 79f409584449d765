"""Results that were measured anywhere, with a label, a seed and a value in each row of a table."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from lrtrain.comparison.evidence import Evidence, RowResult, leaders_of
from lrtrain.comparison.independent import compare_independent
from lrtrain.comparison.sign_flips import smallest_p
from lrtrain.comparison.statistics import ALPHA, compare_pairs, summarise
from lrtrain.errors import UsageError, nearest
from lrtrain.plugins.spec import short
from lrtrain.workloads.headline import Headline

# A row of a table, and what an error calls it.
Row: TypeAlias = tuple[str, Mapping[str, Any]]
# The value of each seed of each label.
Values: TypeAlias = dict[str, dict[str, float]]

_DELIMITERS = ",;\t|"
# In the name of a column: lower is better.
_COSTS = ("loss", "error", "perplexity", "bits", "rmse", "mse", "mae")


@dataclass(frozen=True)
class Columns:
    """The names of the columns; without ``seed`` runs are independent, without ``workload`` all belong together."""

    label: str = "label"
    seed: str | None = "seed"
    value: str = "value"
    workload: str | None = None


def rows_of_file(path: Path) -> list[Row]:
    """Returns the rows of a CSV file with a header; its delimiter is the one that gives the header most columns.

    Raises UsageError when it cannot be read, or has no rows.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}: give a CSV file with a header and a line for each run") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    header = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=header.count)
    names = next(csv.reader([header], delimiter=delimiter), [])
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{path} has two columns that are called '{short(twice[0])}': rename one of them")
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, restkey="", restval="", strict=True)
    try:
        rows: list[Row] = [(f"{path}, line {reader.line_num}", row) for row in reader]
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}, is no CSV: {error}") from error
    if not rows:
        raise UsageError(f"{path} has no results: expected a header, and below it a line for each run")
    return rows


def rows_of_frame(frame: Any) -> list[Row]:
    """Returns the rows of a data frame of pandas or polars, or of a mapping of columns."""
    try:
        names = list(frame if isinstance(frame, Mapping) else frame.columns)
        columns = [list(frame[name]) for name in names]
    except (AttributeError, TypeError):
        raise UsageError(
            f"{type(frame).__name__} is no frame: expected a data frame, or a dictionary with a list for each column"
        ) from None
    if not columns or len(set(map(len, columns))) != 1 or not columns[0]:
        raise UsageError("the frame has no results: expected columns of one length, with a row for each run")
    return [
        (f"row {number}", dict(zip(map(str, names), row, strict=True)))
        for number, row in enumerate(zip(*columns, strict=True), 1)
    ]


def grouped(rows: Sequence[Row], columns: Columns) -> dict[str, Values]:
    """Returns the values of each workload, one called "" where there is no such column; raises UsageError."""
    for option, name in vars(columns).items():
        if name is not None and name not in rows[0][1]:
            known = [key for key in rows[0][1] if key]
            raise UsageError(
                f"there is no column '{name}'{nearest(name, known)}: there is {', '.join(known)}; name the right one "
                f"as the {option}",
                key=option,
            )
    found: dict[str, Values] = {}
    lines: dict[tuple[str, str, str], str] = {}
    for number, (where, row) in enumerate(rows):
        workload = _name(where, row, columns.workload) if columns.workload else ""
        label = _name(where, row, columns.label)
        seed = _name(where, row, columns.seed) if columns.seed else str(number)
        if other := lines.get((workload, label, seed)):
            raise UsageError(f"{where}: '{label}' has a value for the seed {seed} already, in {other}: leave one out")
        lines[workload, label, seed] = where
        found.setdefault(workload, {}).setdefault(label, {})[seed] = _value(where, row[columns.value])
    for values in found.values():
        _check(values, paired=columns.seed is not None)
    return found


def _name(where: str, row: Mapping[str, Any], column: str) -> str:
    value = row[column]
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    text = "" if missing else str(value).strip()
    if not text or not text.isprintable():
        raise UsageError(f"{where}: the {column} {short(text)!r} is refused: expected a line of printable text")
    return text


def _value(where: str, given: Any) -> float:
    try:
        value = float(given)
    except (TypeError, ValueError):
        raise UsageError(f"{where}: the value {short(str(given))!r} is refused: expected a number") from None
    if not math.isfinite(value):
        raise UsageError(
            f"{where}: the value {value} is refused: a run without a result is the worst one, so give it the worst "
            "value that a run can have"
        )
    return value


def _check(values: Values, *, paired: bool) -> None:
    if len(values) < 2:
        raise UsageError(f"there is one label, '{next(iter(values))}': two or more can be compared")
    for label, seeds in values.items():
        if len(seeds) < 2:
            raise UsageError(f"'{label}' has one run: without a second one nobody knows how much is chance")
    if not paired:
        return
    first, *others = values
    for label in others:
        if apart := values[first].keys() ^ values[label].keys():
            seed = min(apart)
            has, lacks = (first, label) if seed in values[first] else (label, first)
            raise UsageError(
                f"the seeds are not the same for all: '{has}' has the seed {short(seed)} and '{lacks}' has not, so "
                "that results cannot be compared seed by seed; the option unpaired compares independent runs",
                key="seed",
            )


def headline_of(column: str, values: Iterable[float], better: str | None) -> Headline:
    """Returns the number that is judged, and which value is better: the name of a column of costs says lower."""
    mode = {"higher": "max", "lower": "min"}.get(better or "")
    if mode is None:
        mode = "min" if any(word in column.lower() for word in _COSTS) else "max"
    # As a share it is written in percent.
    is_share = column == "accuracy" and all(0 <= value <= 1 for value in values)
    name = f"{column}, as given" if column == "accuracy" and not is_share else column
    return Headline(name, "min" if mode == "min" else "max")


def judged(values: Values, headline: Headline, *, baseline: str | None, margin: float, paired: bool) -> Evidence:
    """Returns the evidence of the results of one workload; without a baseline every pair is compared."""
    labels = list(values)
    if baseline is not None and baseline not in labels:
        raise UsageError(
            f"the baseline '{baseline}' is none of the labels{nearest(baseline, labels)}: they are {', '.join(labels)}",
            key="baseline",
        )
    pairs = list(itertools.combinations(labels, 2))
    if baseline is not None:
        pairs = [(label, baseline) for label in labels if label != baseline]
    margins = [margin] * len(pairs)
    seeds = list(values[labels[0]])
    if paired:
        results = {label: [each[seed] for seed in seeds] for label, each in values.items()}
        differences = compare_pairs(results, pairs, headline.sign, margins=margins)
        enough = smallest_p(len(seeds)) < ALPHA
    else:
        results = {label: list(each.values()) for label, each in values.items()}
        differences, enough = compare_independent(results, pairs, headline.sign, margins), True
    rows = tuple(_row(label, results[label]) for label in labels)
    leaders = leaders_of(headline, rows, differences)
    return Evidence(baseline or "", rows, tuple(differences), leaders, enough, headline, paired)


def _row(label: str, values: Sequence[float]) -> RowResult:
    nothing = summarise([])
    return RowResult(label, summarise(values), nothing, math.nan, (), on_edge=False, trials=0, rates=None,
                     seconds=math.nan, problem=None)  # fmt: skip
