"""The commands that reproduce a comparison and its runs."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator

from lrtrain.comparison.plan import HOLDOUT, Plan, labelled
from lrtrain.plugins.spec import Spec, parse_spec
from lrtrain.runs.command import train_options


def compare_command(plan: Plan) -> str | None:
    """Returns the command that makes a comparison again; None when no command line says it."""
    specs = [row.spec for row in plan.rows]
    if plan.protocol == "as-is" or labelled(specs) != plan.rows or not all(map(_writable, specs)):
        return None
    words = ["lrtrain", "compare", *(word for spec in specs for word in ("--plugin", str(spec))), *_effort(plan)]
    words += train_options(dataclasses.replace(plan.train, epochs=type(plan.train)().epochs))
    return shlex.join(words)


def _effort(plan: Plan) -> Iterator[str]:
    effort = plan.effort
    yield from ("--lr-scales", ",".join(map(repr, effort.scales)))
    for name in ("tuning_seeds", "seeds", "epochs"):
        yield from (f"--{name.replace('_', '-')}", str(getattr(effort, name)))
    if plan.holdout != HOLDOUT:
        yield from ("--holdout", str(plan.holdout))
    if plan.baseline is not None:
        yield from ("--baseline", plan.baseline)
    if plan.all_pairs:
        yield "--all-pairs"


def train_command(plan: Plan, spec: Spec) -> str | None:
    """Returns the command that trains a schedule alone, on all training images; None when no command line says it."""
    if not _writable(spec):
        return None
    return shlex.join(["lrtrain", "--plugin", str(spec), *train_options(plan.train)])


def _writable(spec: Spec) -> bool:
    return parse_spec(str(spec)) == spec
