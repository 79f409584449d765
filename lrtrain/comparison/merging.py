"""Putting the runs of several comparisons into one."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from lrtrain.comparison.plan import Plan
from lrtrain.comparison.store import Store, new_store
from lrtrain.comparison.trial import Trial
from lrtrain.errors import UsageError


def merge(directories: Sequence[str | Path], into: str | Path | None = None) -> Store:
    """Puts the runs of several comparisons into one, whose conditions are all equal.

    Args:
      directories: the comparisons.
      into: the directory of the new one; None for ``runs/compare-<date>-<time>``.

    Returns:
      The new comparison. What it lacks, such as seeds that only one of them has, is trained when it is resumed.

    Raises:
      UsageError: conditions differ; the first difference is named.
      RunDirError: one cannot be read, or the new directory is not empty.
    """
    stores = [Store(Path(directory).expanduser().absolute()) for directory in directories]
    plans = [store.read()[0] for store in stores]
    plan = plans[0]
    for store, other in zip(stores[1:], plans[1:], strict=True):
        _check_alike(plan, other, stores[0].path, store.path)
        rows = (*plan.rows, *(row for row in other.rows if row not in plan.rows))
        seeds = max(plan.effort.seeds, other.effort.seeds)
        plan = dataclasses.replace(plan, rows=rows, effort=dataclasses.replace(plan.effort, seeds=seeds))
    plan.check()
    merged = new_store(Path(into) if into is not None else None)
    merged.create(plan, {**stores[0].read()[1], "merged": [str(store.path) for store in stores]})
    seen: set[Trial] = set()
    for store in stores:
        for path, outcome in store.finished():
            if outcome.trial not in seen:
                seen.add(outcome.trial)
                shutil.copytree(path, merged.directory(plan, outcome.trial))
    return merged


def _check_alike(first: Plan, second: Plan, where: Path, other: Path) -> None:
    """Raises UsageError for the first condition that is not the same; schedules and seeds may differ."""
    ours, theirs = ({**plan.to_json(), **plan.train.to_json()} for plan in (first, second))
    ours["scales"], theirs["scales"] = first.effort.scales, second.effort.scales
    ours["tuning_seeds"], theirs["tuning_seeds"] = first.effort.tuning_seeds, second.effort.tuning_seeds
    free = (
        "schedules",
        "effort",
        "train",
        "baseline",
        "all_pairs",
        "devices",
        "micro_batch",
        "data_dir",
        "version",
        "folder",
    )
    for name, value in ours.items():
        if name not in free and value != theirs[name]:
            raise UsageError(
                f"{where.name} and {other.name} cannot be merged: {name} is {value} in one "
                f"and {theirs[name]} in the other"
            )
    for row in first.rows:
        for each in second.rows:
            if row.label == each.label and row.spec != each.spec:
                raise UsageError(
                    f"{where.name} and {other.name} cannot be merged: '{row.label}' is {row.spec} in one and "
                    f"{each.spec} in the other"
                )
