"""The learning rates of a run, new or continued, and the options that a continued run may change."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from lrtrain.errors import RunDirError, ScheduleError
from lrtrain.files import is_path
from lrtrain.option_fields import option_fields
from lrtrain.plugins.loading import ActivePlugins, activate
from lrtrain.plugins.spec import Spec, format_value
from lrtrain.runs.run_config import RunConfig
from lrtrain.runs.train_config import TrainConfig
from lrtrain.schedules.table import ScheduleTable, build_table, fingerprint, make_context

if TYPE_CHECKING:
    from numpy.typing import NDArray

OnScheduleChange: TypeAlias = Literal["keep", "restart"]


@dataclass(frozen=True, eq=False)
class RunRates(ScheduleTable):
    """The learning rates of a whole run, and the steps among them that the schedule of its plugin covers.

    It begins at ``start``, over 0 after a restart, and was built for ``steps``; beyond them, its last value holds.
    """

    start: int
    steps: int


def rates_new(active: ActivePlugins, steps_per_epoch: int, epochs: int) -> RunRates:
    """Returns the learning rates of a new run."""
    total = steps_per_epoch * epochs
    table = build_table(active, make_context(total, steps_per_epoch))
    return RunRates(table.spec, table.values, 0, total)


def rates_before(table: NDArray[np.float32], stored: RunConfig) -> RunRates:
    """Returns the learning rates that the run had when the last command that trained it ended.

    That command may have changed them, by ``--on-schedule-change``, and ended before it saved a checkpoint: then
    ``config.json`` describes the new learning rates, and the checkpoint holds the old ones: ``table``,
    float32[total_steps when it was saved].

    Raises:
      ScheduleError: the schedule in ``config.json`` cannot be built again, because the code of its plugin has changed.
    """
    schedule, spec = stored.schedule, stored.spec
    for values in _candidates(table, stored):
        if fingerprint(values) == schedule.fingerprint:
            return RunRates(spec, values, schedule.start, schedule.steps)
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


def rates_resumed(  # noqa: PLR0913, PLR0917  # the run before, and what is asked for now
    active: ActivePlugins,
    steps_per_epoch: int,
    epochs: int,
    step: int,
    before: RunRates,
    change: OnScheduleChange | None,
) -> RunRates:
    """Returns the learning rates of a run that is continued.

    ``active`` and ``epochs`` are as asked for now, ``step`` and ``before`` as the run was left. The ``change`` ``keep``
    continues with these learning rates (the last one holds if the run is longer now); ``restart`` begins the schedule
    that is asked for now, built for the steps that are left.

    Raises:
      ScheduleError: the schedule has changed and ``change`` does not say what to do.
      RunDirError: the run has done more steps than it is to have now.
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
    return RunRates(rest.spec, np.concatenate([before.values[:step], rest.values]), step, total - step)


def merge_config(stored: TrainConfig, given: Mapping[str, Any]) -> TrainConfig:
    """Returns the stored configuration with the given options; raises RunDirError for one that a run has to keep."""
    kept = {field.name for field in option_fields(TrainConfig) if field.changes_results} - {"epochs"}
    for name, value in given.items():
        if name in kept and value != getattr(stored, name) and not _is_moved(name, value, stored):
            raise RunDirError(
                f"the run was made with {name}={getattr(stored, name)}, and {name}={value} is given: "
                "a resumed run keeps it, so leave it out or start a new run"
            )
    return dataclasses.replace(stored, **given)


def _is_moved(name: str, value: Any, stored: TrainConfig) -> bool:
    """Returns whether this is another path of data, whose digest is compared when it is read."""
    return name == "dataset" and is_path(value) and is_path(stored.dataset)


def _as_before(active: ActivePlugins, steps_per_epoch: int, total: int, before: RunRates) -> RunRates:
    """Returns the learning rates with the schedule that is asked for now, in the steps of the run's own schedule."""
    same_length = total == len(before.values)
    start, steps = (before.start, before.steps) if same_length else (0, total)
    built = build_table(active, make_context(steps, steps_per_epoch))
    values = _held(np.concatenate([before.values[:start], built.values]), total)
    return RunRates(built.spec, values, start, steps)


def _held(values: NDArray[np.float32], total: int) -> NDArray[np.float32]:
    missing = max(total - len(values), 0)
    return np.concatenate([values[:total], np.full(missing, values[-1], np.float32)])


def _difference(now: RunRates, before: RunRates, total: int, step: int) -> str:
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
