"""The differences between runs: in their configurations, and in the conditions of their results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lrtrain.option_fields import option_fields
from lrtrain.plugins.spec import format_value
from lrtrain.runs.record import Run
from lrtrain.runs.train_config import TrainConfig
from lrtrain.workloads.headline import ACCURACY
from lrtrain.workloads.wording import wording

# Two runs that differ in one of these, or in an option that changes results, have not been trained under equal
# conditions. The others say where data is found and how the work is spread over devices.
_CONDITIONS = ("total_steps", "comparison.scale", "comparison.holdout", "comparison.split_seed")
_OF_AN_EPOCH = (
    "epoch", "step", "train_loss", "loss", "accuracy", "measured_on", "learning_rate", "seconds", "examples_per_second"
)  # fmt: skip


def settings(run: Run) -> dict[str, Any]:
    """Returns the configuration of a run as a flat table of JSON's values; empty if it cannot be read."""
    head = run.head
    if head is None:
        return {}
    flat: dict[str, Any] = {"plugin": head.schedule.name}
    observers = [spec.name for spec in head.plugins if spec is not head.schedule]
    flat |= {"observers": observers} if observers else {}
    for spec in head.plugins:
        options = {name: value for name, value in spec.table().items() if name != "plugin"}
        flat |= {f"{spec.name}.{name}": value for name, value in options.items()}
    flat |= {**head.train.to_json(), "total_steps": head.total_steps}
    flat |= {f"comparison.{name}": value for name, value in (head.comparison or {}).items()}
    flat |= {"device": head.devices, "resumed": list(head.resumed)}
    return flat | {f"versions.{name}": version for name, version in head.versions.items()}


def differences(runs: Sequence[Run]) -> dict[str, tuple[Any, ...]]:
    """Returns the keys in which the configurations of runs differ, each with its value in every run (None: no key)."""
    tables = [settings(run) for run in runs]
    keys = dict.fromkeys(key for table in tables for key in table)
    found = {key: tuple(table.get(key) for table in tables) for key in keys}
    return {key: values for key, values in found.items() if len(set(map(format_value, values))) > 1}


def unequal_conditions(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """Returns a sentence for each reason, other than the plugins, why the results cannot be compared."""
    named = dict(zip(names, runs, strict=True))
    return [*_other_conditions(named), *_other_measure(named), *_unfinished(named)]


def _other_conditions(runs: Mapping[str, Run]) -> Iterator[str]:
    readable = {name: run for name, run in runs.items() if run.head is not None}
    found = differences([*readable.values()])
    for key in (*(field.name for field in option_fields(TrainConfig) if field.changes_results), *_CONDITIONS):
        if key in found and not (key == "total_steps" and {"epochs", "batch_size", "train_size"} & found.keys()):
            values = zip(readable, found[key], strict=True)
            said = ", ".join(f"{format_value(value)} in {name}" for name, value in values)
            yield f"not trained under equal conditions: {key} is {said}"


def _other_measure(runs: Mapping[str, Run]) -> Iterator[str]:
    measured = {name: run.last.measured_on for name, run in runs.items() if run.last}
    if len(set(measured.values())) > 1:
        examples = wording(run.head.train.workload for run in runs.values() if run.head).examples
        said = ", ".join(f"the {split} {examples} in {name}" for name, split in measured.items())
        results = "accuracy and loss" if {run.headline for run in runs.values()} == {ACCURACY} else "the results"
        yield f"not measured on the same {examples}: {results} are of {said}"


def _unfinished(runs: Mapping[str, Run]) -> Iterator[str]:
    for name, run in runs.items():
        if run.state != "finished":
            planned = f" of {run.head.train.epochs}" if run.head else ""
            yield f"{name} is {run.state} after {len(run.epochs)}{planned} epochs: {run.reason}"


def to_json(run: Run) -> dict[str, Any]:
    """Returns all that is known of a run."""
    epochs = [
        {
            **{name: getattr(epoch, name) for name in _OF_AN_EPOCH},
            **({"metrics": epoch.metrics} if epoch.metrics else {}),
        }
        for epoch in run.epochs
    ]
    return {**run.to_json(), "settings": settings(run), "history": epochs}
