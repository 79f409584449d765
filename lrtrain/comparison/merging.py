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
from lrtrain.errors import UsageError
from lrtrain.option_fields import option_fields
from lrtrain.plugins.spec import short
from lrtrain.runs.train_config import TrainConfig
from lrtrain.workloads.headline import headline_in


def merge(directories: Sequence[str | Path], into: str | Path | None = None) -> Store:
    """Merges comparisons whose conditions are equal into a new one; ``into`` is as for `new_directory`.

    A resume trains the trials that it lacks, such as those on seeds that only one of them has.

    Raises:
      UsageError: the conditions differ; the first difference is named.
      RunDirError: a comparison cannot be read, or the new directory is not empty.
    """
    stores = [Store(Path(directory).expanduser().absolute()) for directory in directories]
    plans, abouts = zip(*(store.read() for store in stores), strict=True)
    plan = plans[0]
    for store, other in zip(stores[1:], plans[1:], strict=True):
        _check_equal(stores[0], store, _different_plans(plan, other))
        rows = (*plan.rows, *(row for row in other.rows if row not in plan.rows))
        seeds = max(plan.effort.seeds, other.effort.seeds)
        plan = dataclasses.replace(plan, rows=rows, effort=dataclasses.replace(plan.effort, seeds=seeds))
    plan.check()
    for (one, about), (other_one, other_about) in itertools.combinations(zip(stores, abouts, strict=True), 2):
        _check_equal(one, other_one, _different_conditions(about, other_about))
    with contextlib.ExitStack() as held:
        merged = claimed(new_store(into), held, named=into is not None)
        merged.create(plan, {**_about(abouts), "merged": [str(store.path) for store in stores]})
        # Of a trial that several have, that of the first.
        paths = {outcome.trial: path for store in reversed(stores) for path, outcome in store.finished()}
        for trial, path in paths.items():
            shutil.copytree(path, merged.place(plan, trial))
    return merged


def _about(abouts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the conditions that they share, with the schedules and the code of each."""
    whole = dict(abouts[0])
    for name in ("schedules", "code", "centres"):
        whole[name] = {key: value for about in abouts for key, value in about.get(name, {}).items()}
    return whole


def _check_equal(first: Store, second: Store, differences: Iterator[tuple[str, object, object]]) -> None:
    """Raises UsageError for the first of the differences, each a name and the two values."""
    if difference := next(differences, None):
        name, ours, theirs = difference
        raise UsageError(
            f"{first.path.name} and {second.path.name} cannot be merged: {name} is {ours} in one and "
            f"{theirs} in the other"
        )


def _different_conditions(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, object, object]]:
    """Yields the conditions that both comparisons have written down and that differ."""
    titles = {
        "versions": "the version of {}",
        "data": "the {} of the data",
        "schedules": "the digest of the learning rates of '{}'",
        "code": "the digest of the code of '{}'",
    }
    for name, title in titles.items():
        for key, ours in first.get(name, {}).items():
            theirs = second.get(name, {}).get(key, ours)
            if ours != theirs:
                yield title.format(key), short(str(ours)), short(str(theirs))
    ours, theirs = first.get("program"), second.get("program")
    if ours and theirs and ours != theirs:
        yield "the digest of the model", short(str(ours)), short(str(theirs))
    ours, theirs = headline_in(first), headline_in(second)
    if ours != theirs:
        yield "the metric that decides", f"{ours.name} ({ours.mode})", f"{theirs.name} ({theirs.mode})"


def _different_plans(first: Plan, second: Plan) -> Iterator[tuple[str, object, object]]:
    """Yields the conditions of the plans that differ; schedules and seeds may differ."""
    theirs = _shared(second)
    for name, value in _shared(first).items():
        if value != theirs[name]:
            yield name, value, theirs[name]
    others = {row.label: row for row in second.rows}
    for row in first.rows:
        if row != others.get(row.label, row):
            yield f"'{row.label}'", row, others[row.label]


def _shared(plan: Plan) -> dict[str, Any]:
    # The other options may differ, since they change no result.
    names = [field.name for field in option_fields(TrainConfig) if field.changes_results]
    train = {name: getattr(plan.train, name) for name in names}
    tuning = {name: getattr(plan.effort, name) for name in ("scales", "tuning_seeds", "refine", "exhaustive")}
    return {"protocol": plan.protocol, "holdout": plan.holdout, **train, **tuning}
