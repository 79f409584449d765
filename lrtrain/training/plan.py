"""Continuing a run: what may differ from the run that was, and what becomes of its schedule."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from lrtrain.errors import RunDirError, ScheduleError
from lrtrain.option_fields import option_fields
from lrtrain.plugins.loading import ActivePlugins, activate
from lrtrain.plugins.spec import Spec, format_value
from lrtrain.runs.config import TrainConfig
from lrtrain.runs.run_config import RunConfig
from lrtrain.schedules.table import build_table, fingerprint, make_context

if TYPE_CHECKING:
    from numpy.typing import NDArray

OnScheduleChange: TypeAlias = Literal["keep", "restart"]
ON_SCHEDULE_CHANGE = ("keep", "restart")


@dataclass(frozen=True, eq=False)
class Planned:
    """The learning rates of a whole run, and which part of them its plugin's schedule is.

    Args:
      spec: the plugin that builds the schedule, with all options resolved.
      start: the step at which that schedule begins; over 0 after a restart.
      steps: the length that it was built for; beyond it, its last learning rate holds.
      values: float32[total_steps], what the run applies.
    """

    spec: Spec
    start: int
    steps: int
    values: NDArray[np.float32]


def plan_new(active: ActivePlugins, steps_per_epoch: int, epochs: int) -> Planned:
    """Returns the learning rates of a new run."""
    total = steps_per_epoch * epochs
    table = build_table(active, make_context(total, steps_per_epoch))
    return Planned(table.spec, 0, total, table.values)


def check_same(planned: Planned, stored: RunConfig) -> None:
    """Raises ScheduleError when a run that died before its first checkpoint would begin under another schedule.

    Args:
      planned: what it would begin with now.
      stored: what ``config.json`` holds.
    """
    if fingerprint(planned.values) != stored.schedule.fingerprint:
        raise ScheduleError(
            "the schedule is not that of the run, which has no checkpoint yet: leave it as it was, begin with the new "
            "one by --on-schedule-change restart, or start a new run"
        )


def plan_before(table: NDArray[np.float32], stored: RunConfig) -> Planned:
    """Returns the learning rates that the run is to apply, as the command before has left it.

    That command may have decided on other learning rates, by ``--on-schedule-change``, and ended before it had a
    checkpoint of its own: ``config.json`` has its decision, and the checkpoint the learning rates of before.

    Args:
      table: learning rates of the checkpoint, float32[total_steps of then].
      stored: what ``config.json`` holds.

    Raises:
      ScheduleError: what was decided on cannot be built again, because the code of its plugin has changed.
    """
    schedule, spec = stored.schedule, stored.spec
    for values in _candidates(table, stored):
        if fingerprint(values) == schedule.fingerprint:
            return Planned(spec, schedule.start, schedule.steps, values)
    raise ScheduleError(
        f"the run is to go on with {spec.name} for {stored.total_steps} steps, as was decided before, and that "
        "schedule is no longer the same: the code of its plugin has changed, so put it back, or start a new run"
    )


def _candidates(table: NDArray[np.float32], stored: RunConfig) -> Iterator[NDArray[np.float32]]:
    yield table
    total, schedule = stored.total_steps, stored.schedule
    yield _held(table, total)
    built = build_table(activate([stored.spec]), make_context(schedule.steps, stored.steps_per_epoch))
    yield _held(np.concatenate([table[: schedule.start], built.values]), total)


def plan_resumed(  # noqa: PLR0913, PLR0917  # a run that was, and what is asked for now
    active: ActivePlugins,
    steps_per_epoch: int,
    epochs: int,
    step: int,
    before: Planned,
    change: OnScheduleChange | None,
) -> Planned:
    """Returns the learning rates of a run that goes on.

    Args:
      active: the plugins, as they are asked for now.
      steps_per_epoch: optimizer updates in an epoch.
      epochs: epochs in the whole run, as asked for now.
      step: updates done.
      before: the learning rates of the run as it was.
      change: ``keep`` goes on with the learning rates that the run has (the last one holds if it is longer now);
        ``restart`` begins the schedule asked for now, built for the steps that are left.

    Raises:
      ScheduleError: the schedule has changed and ``change`` does not say what to do.
      RunDirError: the run has gone further than it is to go now.
    """
    total = steps_per_epoch * epochs
    if step > total:
        raise RunDirError(f"the run has done {step} steps, and epochs={epochs} is {total}: give more epochs")
    if change == "keep":
        return dataclasses.replace(before, values=_held(before.values, total))
    now = _as_before(active, steps_per_epoch, total, before)
    if np.array_equal(now.values, before.values):
        return now
    if change is None:
        raise ScheduleError(_difference(now, before, total, step))
    if step == total:
        return dataclasses.replace(before, values=before.values[:total])
    rest = build_table(active, make_context(total - step, steps_per_epoch))
    return Planned(rest.spec, step, total - step, np.concatenate([before.values[:step], rest.values]))


def merge_config(stored: TrainConfig, given: Mapping[str, Any]) -> TrainConfig:
    """Returns the configuration of a run that goes on: as stored, but for what is given and may differ.

    Raises:
      RunDirError: something is given that a resumed run must keep.
    """
    kept = {field.name for field in option_fields(TrainConfig) if field.changes_results} - {"epochs"}
    wrong = [name for name, value in given.items() if name in kept and value != getattr(stored, name)]
    if wrong:
        name = wrong[0]
        raise RunDirError(
            f"the run was made with {name}={getattr(stored, name)}, and {name}={given[name]} is given: "
            "a resumed run keeps it, so leave it out or start a new run"
        )
    return dataclasses.replace(stored, **given)


def _as_before(active: ActivePlugins, steps_per_epoch: int, total: int, before: Planned) -> Planned:
    """Builds the schedule asked for now in the place that the run's schedule has."""
    same_length = total == len(before.values)
    start, steps = (before.start, before.steps) if same_length else (0, total)
    built = build_table(active, make_context(steps, steps_per_epoch))
    values = _held(np.concatenate([before.values[:start], built.values]), total)
    return Planned(built.spec, start, steps, values)


def _held(values: NDArray[np.float32], total: int) -> NDArray[np.float32]:
    missing = max(total - len(values), 0)
    return np.concatenate([values[:total], np.full(missing, values[-1], np.float32)])


def _difference(now: Planned, before: Planned, total: int, step: int) -> str:
    said = list(_spec_differences(before.spec, now.spec))
    if total != len(before.values):
        said.append(f"{len(before.values)} steps in the run and {total} now")
    common = min(total, len(before.values))
    unequal = np.flatnonzero(now.values[:common] != before.values[:common])
    if unequal.size:
        first = int(unequal[0])
        # All digits: two float32 may differ in the last one only.
        said.append(f"learning rate at step {first} {before.values[first]!s} in the run and {now.values[first]!s} now")
    return (
        f"the schedule is not that of the checkpoint at step {step} ({'; '.join(said)}): "
        "--on-schedule-change keep goes on with the run's own, restart begins the new one there"
    )


def _spec_differences(before: Spec, now: Spec) -> Iterator[str]:
    if before.name != now.name:
        yield f"plugin {before.name} in the run and {now.name} now"
        return
    for name in {**before.options, **now.options}:
        old, new = (format_value(spec.options.get(name)) for spec in (before, now))
        if old != new:
            yield f"{name}={old} in the run and {name}={new} now"
