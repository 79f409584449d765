"""The verdict about results that were measured anywhere."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from lrtrain.comparison.given import Columns, Row, Values, grouped, headline_of, judged
from lrtrain.comparison.verdict import evidence_as_json, verdict
from lrtrain.errors import UsageError
from lrtrain.option_fields import check_choice, check_number

if TYPE_CHECKING:
    from lrtrain.comparison.evidence import Evidence
    from lrtrain.comparison.table import Table


@dataclass(frozen=True, eq=False, repr=False)
class Judged:
    """The verdict about results; ``print`` shows it, and a notebook its tables.

    Args:
      values: the value of each seed of each label, by workload; the only one is called "" where none is named.
      evidence: the evidence of each workload.
      paired: whether results were compared seed by seed.
    """

    values: Mapping[str, Values]
    evidence: Mapping[str, Evidence]
    paired: bool

    @functools.cached_property
    def tables(self) -> Mapping[str, Table]:
        """The table of each workload."""
        from lrtrain.comparison.table import table_of_given

        return {workload: table_of_given(each) for workload, each in self.evidence.items()}

    @functools.cached_property
    def sentences(self) -> Mapping[str, Sequence[str]]:
        """What the evidence of each workload supports, the most important first."""
        return {workload: verdict(each) for workload, each in self.evidence.items()}

    def to_json(self) -> dict[str, Any]:
        """Returns the evidence as JSON holds it, by workload."""
        return {
            "paired": self.paired,
            "workloads": {name: evidence_as_json(each) for name, each in self.evidence.items()},
        }

    def __repr__(self) -> str:
        """The tables, each with its verdict."""
        return "\n\n".join(
            "\n".join([*filter(None, [workload]), str(table), *self.sentences[workload]])
            for workload, table in self.tables.items()
        )

    def _repr_html_(self) -> str:
        parts = []
        for workload, table in self.tables.items():
            said = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.sentences[workload])
            parts.append(f"{f'<h4>{escape(workload)}</h4>' if workload else ''}{table.html()}{said}")
        return "".join(parts)


def verdict_of_rows(
    rows: Sequence[Row], columns: Columns, *, better: str | None, baseline: str | None, margin: float
) -> Judged:
    """Returns what rows support; the arguments are those of `lrtrain.verdict`."""
    if better is not None:
        check_choice("better", better, ("higher", "lower"))
    check_number("margin", margin, float, least=0)
    values = grouped(rows, columns)
    everything = [value for labels in values.values() for seeds in labels.values() for value in seeds.values()]
    headline = headline_of(columns.value, everything, better)
    paired = columns.seed is not None
    evidence = {}
    for workload, each in values.items():
        try:
            evidence[workload] = judged(each, headline, baseline=baseline, margin=margin, paired=paired)
        except UsageError as error:
            raise UsageError(f"{workload}: {error}" if workload else str(error), key=error.key) from error
    return Judged(values, evidence, paired)
