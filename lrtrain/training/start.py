"""The start of a run: at its first step, or at the newest checkpoint of a run that is continued."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lrtrain.errors import RunDirError, ScheduleError
from lrtrain.runs.conditions import check_data, codes_of, optimizer_code, other_code, other_versions
from lrtrain.runs.logs import count_epochs, lost_steps
from lrtrain.runs.run_config import RunConfig
from lrtrain.schedules.table import fingerprint
from lrtrain.training.checkpoints import Checkpoints
from lrtrain.training.initial import initial_state
from lrtrain.training.job import Job
from lrtrain.training.position import Position
from lrtrain.training.prepare import Found
from lrtrain.training.rates import RunRates, rates_before, rates_new, rates_resumed

if TYPE_CHECKING:
    from lrtrain.engine.engine import Engine, TrainState


@dataclass(frozen=True, eq=False)
class Start:
    """The start of a run; ``damaged`` are newer checkpoints, which could not be read, each with the reason.

    ``initial`` is the digest of the parameters that the run began with, if these were given.
    """

    rates: RunRates
    position: Position
    state: TrainState
    initial: str | None = None
    from_checkpoint: bool = False
    damaged: tuple[str, ...] = ()


def start_new(job: Job, found: Found, engine: Engine) -> Start:
    """Returns the start of a run at its first step."""
    rates = rates_new(job.active, found.steps_per_epoch, job.config.epochs)
    state, initial = initial_state(job.config, engine)
    return Start(rates, Position(0, 1.0, job.config.seed), state, initial)


def start_resumed(job: Job, stored: RunConfig, found: Found, engine: Engine, checkpoints: Checkpoints) -> Start:
    """Returns the start of a run that is continued: at its newest valid checkpoint, or at step 0 if it has none yet.

    Raises:
      ScheduleError: its schedule has changed, and ``job`` does not say what to do.
    """
    # The second checkpoint waits until the first is written, so a run that is one epoch further has had a checkpoint.
    if checkpoints.latest() is None and count_epochs(job.run_dir) < job.rule.epochs + 2:
        start = start_new(job, found, engine)
        if start.initial != stored.initial:
            raise RunDirError(
                f"the parameters in {job.config.init_from} are no longer those that the run began with: start a new run"
            )
        same = fingerprint(start.rates.values) == stored.schedule.fingerprint
        if not same and job.on_schedule_change != "restart":
            raise ScheduleError(
                "the schedule is not that of the run, which has no checkpoint yet: leave it as it was, begin with the "
                "new one by --on-schedule-change restart, or start a new run"
            )
        return start
    restored = checkpoints.restore_newest(engine.init(job.config.seed))
    position, before = restored.position.measured_on(found.measured_on), rates_before(restored.table, stored)
    change = job.on_schedule_change
    rates = rates_resumed(job.active, found.steps_per_epoch, job.config.epochs, position.step, before, change)
    if job.goes_past(position.step):
        position = dataclasses.replace(position, stopped=None)
    return Start(rates, position, restored.state, stored.initial, from_checkpoint=True, damaged=restored.damaged)


def check_found(job: Job, found: Found) -> None:
    """Raises RunDirError when a run would be continued on other data, or with other code."""
    if job.stored is None:
        return
    check_data(job.stored.data, found.data, "run")
    if job.stored.steps_per_epoch != found.steps_per_epoch:
        raise RunDirError(
            f"the run has {job.stored.steps_per_epoch} steps in an epoch, and its data gives "
            f"{found.steps_per_epoch} now: put the data of the run back, or start a new run"
        )
    code = {**codes_of(job.active.plugins), **optimizer_code(job.config)}
    now = {"code": code, "program": found.program, "versions": job.versions()}
    if (changed := other_code(job.stored.to_json(), now)) and not job.accept_code_change:
        raise RunDirError(f"{changed}: put it back, start a new run, or go on with it by --accept-code-change")


def note_of(start: Start, job: Job, config: RunConfig, lines: int) -> str | None:
    """Returns a note for the user about a run that is continued; None if there is nothing to say.

    ``lines`` is the number of lines of ``metrics.jsonl`` that have been restored.
    """
    if job.stored is None or not start.from_checkpoint:
        return None
    said, position, run_dir = [], start.position, job.run_dir
    step = position.step
    if start.damaged:
        said.append(f"damaged and left out: {', '.join(start.damaged)}; the run goes on from step {step}")
    if lost := lost_steps(run_dir, step):
        said.append(f"{run_dir.steps.name} has been damaged: {lost} of its {step} lines are missing, and stay so")
    if lines:
        said.append(f"{run_dir.metrics.name} has been damaged: {lines} of its lines are restored from the checkpoint")
    if versions := other_versions(job.stored.versions, config.versions):
        said.append(versions)
    if job.stored.device != config.device:
        said.append(
            f"it was trained on {job.stored.device}, and goes on with {config.device}: sums are taken in another "
            "order, so last digits may differ"
        )
    if position.stopped is not None:
        said.append(f"{position.stopped}: this has stopped the run; other plugins (--plugin) or more epochs train on")
    return "; ".join(said) or None
