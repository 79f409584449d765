"""Merging comparisons: the trials of several, put into one."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lrtrain.comparison.plan import Plan
from lrtrain.comparison.store import Store, claimed, new_store
from lrtrain.comparison.trial import Trial
from lrtrain.errors import UsageError
from lrtrain.plugins.spec import short


def merge(directories: Sequence[str | Path], into: str | Path | None = None) -> Store:
    """Merges comparisons whose conditions are equal into a new one.

    Args:
      directories: the comparisons.
      into: the directory of the new one; None for ``runs/compare-<date>-<time>``.

    Returns:
      The new comparison. A resume trains the trials that it lacks, such as those on seeds that only one of them has.

    Raises:
      UsageError: the conditions differ; the first difference is named.
      RunDirError: a comparison cannot be read, or the new directory is not empty.
    """
    stores = [Store(Path(directory).expanduser().absolute()) for directory in directories]
    plans, abouts = zip(*(store.read() for store in stores), strict=True)
    plan = plans[0]
    for store, other in zip(stores[1:], plans[1:], strict=True):
        _check_alike(plan, other, stores[0].path, store.path)
        rows = (*plan.rows, *(row for row in other.rows if row not in plan.rows))
        seeds = max(plan.effort.seeds, other.effort.seeds)
        plan = dataclasses.replace(plan, rows=rows, effort=dataclasses.replace(plan.effort, seeds=seeds))
    plan.check()
    for (one, about), (other_one, other_about) in itertools.combinations(zip(stores, abouts, strict=True), 2):
        _check_conditions(about, other_about, one.path, other_one.path)
    merged = new_store(Path(into) if into is not None else None)
    with contextlib.ExitStack() as held:
        merged = claimed(merged, held, named=into is not None)
        merged.create(plan, {**_about(abouts), "merged": [str(store.path) for store in stores]})
        _copy(stores, merged, plan)
    return merged


def _copy(stores: Sequence[Store], merged: Store, plan: Plan) -> None:
    seen: set[Trial] = set()
    for store in stores:
        for path, outcome in store.finished():
            if outcome.trial not in seen:
                seen.add(outcome.trial)
                shutil.copytree(path, merged.place(plan, outcome.trial))


def _about(abouts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the conditions that they share, with the schedules and the code of each."""
    whole = dict(abouts[0])
    for name in ("schedules", "code"):
        whole[name] = {key: value for about in abouts for key, value in about.get(name, {}).items()}
    return whole


def _check_conditions(first: Mapping[str, Any], second: Mapping[str, Any], where: Path, other: Path) -> None:
    """Raises UsageError for the first condition that both comparisons have written down and that differs."""
    for name, ours, theirs in _in_both(first, second):
        if ours != theirs:
            raise UsageError(
                f"{where.name} and {other.name} cannot be merged: {name} is {short(str(ours))} in one and "
                f"{short(str(theirs))} in the other"
            )


def _in_both(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    titles = {
        "versions": "the version of {}",
        "data": "the {} of the data",
        "schedules": "the digest of the learning rates of '{}'",
        "code": "the digest of the code of '{}'",
    }
    for name, title in titles.items():
        ours, theirs = first.get(name, {}), second.get(name, {})
        yield from ((title.format(key), ours[key], theirs[key]) for key in ours if key in theirs)
    if first.get("program") and second.get("program"):
        yield "the digest of the model", first["program"], second["program"]


def _check_alike(first: Plan, second: Plan, where: Path, other: Path) -> None:
    """Raises UsageError for the first condition of the plans that differs; schedules and seeds may differ."""
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
