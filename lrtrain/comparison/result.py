"""The result of a comparison: its plan, the outcomes of its trials, and their evidence."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtrain.comparison.plan import Plan
from lrtrain.comparison.protocol import Standing
from lrtrain.comparison.store import Store
from lrtrain.comparison.trial import Outcome
from lrtrain.comparison.tuning_trials import Tuned
from lrtrain.errors import RunDirError
from lrtrain.runs.command import resume_command
from lrtrain.workloads.headline import Headline
from lrtrain.workloads.wording import wording

if TYPE_CHECKING:
    from lrtrain.comparison.evidence import Evidence
    from lrtrain.comparison.table import Table


@dataclass(frozen=True, eq=False)
class Comparison:
    """A comparison that is complete.

    Args:
      plan: what was compared, and how.
      outcomes: the outcome of every trial.
      directory: its directory.
      about: the conditions that it was made under, such as versions and devices.
    """

    plan: Plan
    outcomes: tuple[Outcome, ...]
    directory: Path
    about: Mapping[str, Any]

    @functools.cached_property
    def evidence(self) -> Evidence:
        """The evidence of its trials; see `lrtrain.comparison.evidence.Evidence`."""
        from lrtrain.comparison.evidence import analyse

        return analyse(self.standing)

    @property
    def headline(self) -> Headline:
        """The number that its schedules are judged by, as it was when the comparison began."""
        return self.standing.judge.headline

    @functools.cached_property
    def standing(self) -> Standing:
        """Its outcomes, judged."""
        return Standing.of(self.plan, self.about, self.outcomes)

    @property
    def tuned(self) -> Mapping[str, Tuned]:
        """The result of the tuning of each schedule; empty where nothing was tuned."""
        return self.standing.tuned

    @property
    def table(self) -> Table:
        """A row for each schedule, as the terminal and the page have it."""
        from lrtrain.comparison.table import table_of

        return table_of(self.evidence, fair=self.plan.protocol == "fair", words=wording([self.plan.train.workload]))

    def __repr__(self) -> str:
        """The table and the verdict."""
        from lrtrain.comparison.verdict import verdict

        return "\n".join([str(self.table), *verdict(self.evidence)])

    def _repr_html_(self) -> str:
        from html import escape

        from lrtrain.comparison.verdict import verdict

        return self.table.html() + "".join(f"<p>{escape(sentence)}</p>" for sentence in verdict(self.evidence))

    @property
    def report(self) -> Path:
        """The page, once it is written."""
        return Store(self.directory).report

    def measured(self, label: str) -> list[Outcome]:
        """Returns the outcomes of a schedule that are reported, seed by seed."""
        return self.standing.measured[label]


def read_comparison(directory: str | Path) -> Comparison:
    """Returns a comparison from its files; raises RunDirError when it cannot be read, or trials are missing."""
    store = Store(Path(directory).expanduser().absolute())
    plan, about = store.read()
    outcomes = store.outcomes()
    missing = Standing.of(plan, about, outcomes).missing
    if missing:
        raise RunDirError(
            f"{directory} lacks {len(missing)} runs or more: {resume_command(store.path, 'comparison')} trains them"
        )
    return Comparison(plan, tuple(outcomes), store.path, about)
