"""One trial of a wave: its learning rates, its hooks, its logs and its outcome."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrain.comparison.conditions import build_row
from lrtrain.comparison.plan import Plan
from lrtrain.comparison.trial import Outcome, Trial, TrialState
from lrtrain.data import Dataset
from lrtrain.errors import TrainingError
from lrtrain.plugins.context import MeasuredOn, RunInfo
from lrtrain.plugins.observers import Observers
from lrtrain.runs.conditions import file_versions, versions
from lrtrain.runs.directory import RunDir, make_directory, now
from lrtrain.runs.lock import writing
from lrtrain.runs.logs import RunLogs, count_epochs, cut_steps, from_saved, lost_steps, restore_metrics, to_saved
from lrtrain.runs.run_config import Device, Part, RunConfig, StoredSchedule, write_config
from lrtrain.schedules.table import fingerprint
from lrtrain.training.position import Position
from lrtrain.training.recorder import DivergedError, Recorder
from lrtrain.workloads.headline import noted


class ActiveTrial:
    """A trial while its wave is trained.

    A trial that ends early (by a hook, a loss that is not finite, or a plugin that raises) does not end the wave: its
    learning rate is 0 from then on, so its parameters stay as they are.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # the one place where all that a trial is made of meets
        self, plan: Plan, trial: Trial, path: Path, data: Dataset, chunk_steps: int, device_kind: str
    ) -> None:
        """Builds its schedule; raises UsageError when its plugin cannot be loaded, or does not build a valid one."""
        self.trial = trial
        length = plan.train.steps_per_epoch(len(data.train))
        active, table = build_row(plan, next(row for row in plan.rows if row.label == trial.label), length)
        rates = table.values * np.float32(trial.scale)
        entries = [plugin.entry for plugin in active.plugins] + ([entry] if (entry := plan.workload.entry) else [])
        held_out = plan.holdout if plan.holdout is not None else len(data.validation or ())
        self._config = RunConfig(
            plugins=(table.spec.table(), *(plugin.spec().table() for plugin in active.plugins[1:])),
            schedule=StoredSchedule(0, 0, len(rates), fingerprint(rates)),
            train=dataclasses.replace(plan.train, seed=trial.seed),
            steps_per_epoch=length,
            total_steps=len(rates),
            data=data.identity(),
            versions={**versions(*entries), **file_versions(plan.train)},
            device=Device(device_kind, 1),
            started=now(),
            headline=noted(plan.workload.workload.headline),
            comparison=Part(trial.stage, trial.label, trial.scale, plan.train.seed, held_out),
        )
        self._run = RunInfo(path, self._config.to_json(), len(rates), length, plan.train.epochs, rates)
        # The last step of an epoch has the remainder.
        size = plan.train.batch_size
        self._counts: NDArray[np.int64] = np.minimum(size, len(data.train) - size * np.arange(length))
        self._measured_on: MeasuredOn = "test" if plan.protocol == "as-is" else "validation"
        self._directory = RunDir(path)
        self._logs = RunLogs(self._directory)
        self._recording = functools.partial(
            Recorder, self._run, Observers(active), self._logs, chunk_steps, measured_on=self._measured_on
        )
        self._recorder = self._recording(Position(0, 1.0, trial.seed))
        self._state: TrialState = "finished"
        self._reason: str | None = None
        self._steps = 0
        self._measured: dict[str, float] | None = None

    def begin(self) -> None:
        """Makes its directory and writes ``config.json``; raises RunDirError when the directory cannot be made."""
        make_directory(self._directory.path)
        write_config(self._directory, self._config)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Locks its directory, and keeps its logs open."""
        with writing(self._directory.path), self._logs:
            yield

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

    def end_epoch(self, epoch: int, means: Mapping[str, float], seconds: float, trained: float) -> None:
        """Records the end of an epoch; of an epoch in which the trial ended, only what was measured."""
        length = self._run.steps_per_epoch
        first, until = epoch * length, (epoch + 1) * length
        if self._state in {"diverged", "failed"} or (self.over and self._steps <= first):
            return
        if not self.over:
            self._apply_due(until)
        if self._steps == until:
            counts, speed = self._counts, float(self._counts.sum()) / trained
            with self._ending_trial():
                how = {"seconds": seconds, "examples_per_second": speed}
                self._recorder.log(self._recorder.epoch(epoch, means, examples=counts, **how))
            self._apply_due(until)
        self._measured = dict(means)

    def _apply_due(self, step: int) -> None:
        self._recorder.apply_due_requests(step)
        if not self.over and self._recorder.stopped is not None:
            self._state, self._reason, self._steps = "stopped", self._recorder.stopped, step

    @contextlib.contextmanager
    def _ending_trial(self) -> Iterator[None]:
        """Ends the trial, and not its wave, when a loss is not finite or a hook raises."""
        try:
            yield
        except DivergedError as error:
            self._state, self._reason, self._steps = "diverged", error.what, error.step + 1
        except TrainingError as error:
            self._state, self._reason = "failed", str(error)

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
        return (
            values["fingerprint"] == fingerprint(self._run.learning_rates)
            and values["versions"] == self._run.config["versions"]
            and self._directory.config.is_file()
            and not lost_steps(self._directory, values["steps"])
            and count_epochs(self._directory) >= len(values["history"])
        )

    def continue_from(self, values: Mapping[str, Any]) -> None:
        """Continues from what `to_json` returned: cuts the logs, which are opened afterwards, to that position."""
        self._state, self._reason, self._steps = values["state"], values["reason"], values["steps"]
        history = from_saved(values["history"], self._measured_on)
        # An earlier lrtrain saved no measurement: it is that of the last epoch.
        measured = values.get("measured", history[-1].means if history else None)
        # Before there were workloads, it was the loss and the accuracy.
        self._measured = (
            dict(zip(("loss", "accuracy"), measured, strict=True)) if isinstance(measured, list) else measured
        )
        self._recorder = self._recording(Position(self._steps, values["factor"], self.trial.seed, history))
        cut_steps(self._directory, self._steps)
        restore_metrics(self._directory, history)

    def outcome(self, test: Mapping[str, float] | None, seconds: float) -> Outcome:
        """Returns the result of the trial: what was measured after its last epoch."""
        good = self._state in {"finished", "stopped"}
        measured = self._measured if good else None
        tested = test if good and test and all(map(math.isfinite, test.values())) else None
        rates = self._run.learning_rates
        first_highest_last = float(rates[0]), float(rates.max()), float(rates[-1])
        return Outcome.of(
            self.trial, self._state, self._reason, self._steps, measured, tested, first_highest_last, seconds
        )
