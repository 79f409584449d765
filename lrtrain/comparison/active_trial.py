"""One trial of a wave: its learning rates, its hooks, its logs and its outcome."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrain.comparison.holdout import Data
from lrtrain.comparison.plan import Plan
from lrtrain.comparison.trial import Outcome, Trial, TrialState
from lrtrain.errors import TrainingError
from lrtrain.plugins.context import MeasuredOn, RunInfo
from lrtrain.plugins.discovery import files_below
from lrtrain.plugins.loading import ActivePlugins, activate
from lrtrain.plugins.observers import Observers
from lrtrain.plugins.spec import Spec
from lrtrain.runs.conditions import model_version
from lrtrain.runs.directory import RunDir, make_directory, now
from lrtrain.runs.epoch_lines import from_saved, to_saved
from lrtrain.runs.lock import writing
from lrtrain.runs.log_repair import cut_steps, lost_steps, restore_metrics
from lrtrain.runs.logs import RunLogs, count_epochs
from lrtrain.runs.run_config import Device, Part, RunConfig, StoredSchedule, write_config
from lrtrain.runs.versions import versions
from lrtrain.schedules.table import build_table, fingerprint, make_context
from lrtrain.training.position import Position
from lrtrain.training.recorder import DivergedError, Recorder

if TYPE_CHECKING:
    import jax
    from numpy.typing import NDArray


class ActiveTrial:
    """A trial while its wave is trained; used as a context manager, which keeps its logs open.

    A trial that ends early (by a hook, a loss that is not finite, or a plugin that raises) does not end the wave: its
    learning rate is 0 from then on, so its parameters stay as they are.
    """

    def __init__(
        self, trial: Trial, config: RunConfig, run: RunInfo, observers: Observers, conditions: TrialConditions
    ) -> None:
        self.trial = trial
        self._config = config
        self._run = run
        self._conditions = conditions
        self._logs = RunLogs(RunDir(run.directory))
        self._held = contextlib.ExitStack()
        self._observers = observers
        self._recorder = self._recording(Position(0, 1.0, trial.seed))
        self._state: TrialState = "finished"
        self._reason: str | None = None
        self._steps = 0
        self._measured: tuple[float, float] | None = None

    def _recording(self, position: Position) -> Recorder:
        chunk, measured_on = self._conditions.chunk_steps, self._conditions.measured_on
        return Recorder(self._run, self._observers, self._logs, chunk, position, measured_on=measured_on)

    def begin(self) -> None:
        """Makes its directory and writes ``config.json``.

        Raises:
          RunDirError: the directory cannot be written.
        """
        directory = RunDir(self._run.directory)
        make_directory(directory.path)
        write_config(directory, self._config)

    def __enter__(self) -> ActiveTrial:
        self._held.enter_context(writing(self._run.directory))
        self._logs.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._logs.__exit__(kind, error, trace)
        self._held.close()

    @property
    def over(self) -> bool:
        """Whether it has ended before its last step."""
        return self._state != "finished"

    def rates(self, begin: int, end: int) -> NDArray[np.float32]:
        """Returns the learning rates of steps that are sent next, float32[end - begin]; 0 once the trial is over."""
        if not self.over:
            self._apply_due(begin)
        rates = self._recorder.rates(begin, end)
        return np.zeros_like(rates) if self.over else rates

    def deliver(self, first: int, rates: NDArray[np.float32], losses: NDArray[np.float32]) -> None:
        """Records finished steps, up to the one at which the trial ended."""
        if self._state in {"diverged", "failed"} or (self.over and first >= self._steps):
            return
        with self._ending_trial():
            last = self._recorder.steps(first, rates, losses)
            self._steps = max(self._steps, last.step + 1)

    def end_epoch(self, epoch: int, loss: float, accuracy: float, seconds: float, trained: float) -> None:
        """Records the end of an epoch; of an epoch in which the trial ended, only what was measured."""
        length = self._run.steps_per_epoch
        first, until = epoch * length, (epoch + 1) * length
        if self._state in {"diverged", "failed"} or (self.over and self._steps <= first):
            return
        if not self.over:
            self._apply_due(until)
        if self._steps == until:
            counts = self._conditions.examples_of_steps(length)
            speed = float(counts.sum()) / trained
            with self._ending_trial():
                self._recorder.epoch(epoch, loss, accuracy, examples=counts, seconds=seconds, examples_per_second=speed)
            self._note_stop(until)
        self._measured = loss, accuracy

    def _apply_due(self, step: int) -> None:
        self._recorder.apply_due_requests(step)
        self._note_stop(step)

    def _note_stop(self, step: int) -> None:
        if not self.over and self._recorder.stopped is not None:
            self._end("stopped", self._recorder.stopped)
            self._steps = step

    @contextlib.contextmanager
    def _ending_trial(self) -> Iterator[None]:
        """Ends the trial, and not its wave, when a loss is not finite or a hook raises."""
        try:
            yield
        except DivergedError as error:
            self._end("diverged", error.what)
            self._steps = error.step + 1
        except TrainingError as error:
            self._end("failed", str(error))

    def _end(self, state: TrialState, reason: str) -> None:
        self._state, self._reason = state, reason

    def to_json(self) -> dict[str, Any]:
        """Returns its position at the end of an epoch; its logs are on the disk before."""
        self._logs.sync()
        position = self._recorder.position(self._steps)
        return {
            "fingerprint": fingerprint(self._run.learning_rates),
            "versions": self._run.config["versions"],
            "factor": position.factor,
            "state": self._state,
            "reason": self._reason,
            "steps": self._steps,
            "history": to_saved(position.history),
            "measured": self._measured,
        }

    def can_continue(self, values: Mapping[str, Any]) -> bool:
        """Returns whether it can continue from a saved position: learning rates, versions and logs are unchanged."""
        directory = RunDir(self._run.directory)
        return (
            values["fingerprint"] == fingerprint(self._run.learning_rates)
            and values["versions"] == self._run.config["versions"]
            and directory.config.is_file()
            and not lost_steps(directory, values["steps"])
            and count_epochs(directory) >= len(values["history"])
        )

    def continue_from(self, values: Mapping[str, Any]) -> None:
        """Continues from what `to_json` returned: cuts the logs, which are opened afterwards, to that position."""
        self._state, self._reason, self._steps = values["state"], values["reason"], values["steps"]
        history = from_saved(values["history"], self._conditions.measured_on)
        # An earlier lrtrain saved no measurement: it is that of the last epoch.
        before = (history[-1].loss, history[-1].accuracy) if history else None
        measured = values.get("measured", before)
        self._measured = None if measured is None else (measured[0], measured[1])
        self._recorder = self._recording(Position(self._steps, values["factor"], self.trial.seed, history))
        directory = RunDir(self._run.directory)
        cut_steps(directory, self._steps)
        restore_metrics(directory, history)

    def outcome(self, test: tuple[float, float] | None, seconds: float) -> Outcome:
        """Returns the result of the trial: what was measured after its last epoch."""
        good = self._state in {"finished", "stopped"}
        loss, accuracy = self._measured if good and self._measured else (None, None)
        test = test if good and test is not None and math.isfinite(test[0]) else None
        rates = self._run.learning_rates
        return Outcome(
            self.trial,
            self._state,
            self._reason,
            self._steps,
            loss,
            accuracy,
            test[0] if test else None,
            test[1] if test else None,
            (float(rates[0]), float(rates.max()), float(rates[-1])),
            seconds,
        )


@dataclass(frozen=True)
class TrialConditions:
    """The conditions that all trials of a comparison share.

    Args:
      examples: training examples of a trial.
      batch_size: examples of a step.
      chunk_steps: steps that are sent to the devices at once.
      measured_on: the examples that loss and accuracy of an epoch are measured on.
    """

    examples: int
    batch_size: int
    chunk_steps: int
    measured_on: MeasuredOn

    def examples_of_steps(self, steps: int) -> NDArray[np.int64]:
        """Returns the number of examples of each step of an epoch, int64[steps]; the last step has the remainder."""
        counts: NDArray[np.int64] = np.minimum(self.batch_size, self.examples - self.batch_size * np.arange(steps))
        return counts


def prepare(  # noqa: PLR0913, PLR0917  # the one place where all that a trial is made of meets
    plan: Plan, trial: Trial, path: Path, data: Data, chunk_steps: int, devices: Sequence[jax.Device]
) -> ActiveTrial:
    """Builds the schedule of a trial, and returns the trial ready to be trained.

    Raises:
      UsageError: its plugin cannot be loaded, or does not build a valid schedule.
    """
    row = next(row for row in plan.rows if row.label == trial.label)
    steps_per_epoch = plan.train.steps_per_epoch(len(data.train))
    with files_below(plan.folder):
        active = activate([row.spec])
        table = build_table(active, make_context(steps_per_epoch * plan.train.epochs, steps_per_epoch))
    values = table.values * np.float32(trial.scale)
    config = _describe(plan, trial, active, table.spec, values, data, devices)
    run = RunInfo(path, config.to_json(), len(values), steps_per_epoch, plan.train.epochs, values)
    measured_on: MeasuredOn = "test" if plan.protocol == "as-is" else "validation"
    conditions = TrialConditions(len(data.train), plan.train.batch_size, chunk_steps, measured_on)
    return ActiveTrial(trial, config, run, Observers(active), conditions)


def _describe(  # noqa: PLR0913, PLR0917  # all that config.json notes of a trial
    plan: Plan,
    trial: Trial,
    active: ActivePlugins,
    spec: Spec,
    values: NDArray[np.float32],
    data: Data,
    devices: Sequence[jax.Device],
) -> RunConfig:
    return RunConfig(
        plugins=(spec.table(),),
        schedule=StoredSchedule(0, 0, len(values), fingerprint(values)),
        train=dataclasses.replace(plan.train, seed=trial.seed),
        steps_per_epoch=plan.train.steps_per_epoch(len(data.train)),
        total_steps=len(values),
        data=dict(data.identity),
        versions={**versions(*(plugin.entry for plugin in active.plugins)), **model_version(plan.train.model)},
        device=Device(devices[0].device_kind, 1),
        started=now(),
        comparison=Part(trial.stage, trial.label, trial.scale, plan.train.seed, plan.holdout),
    )
