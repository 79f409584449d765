"""One run among those that train at once: its learning rates, its hooks, its logs, and what becomes of it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrain.comparison.holdout import Data
from lrtrain.comparison.plan import Plan
from lrtrain.comparison.trial import Outcome, State, Trial
from lrtrain.errors import TrainingError
from lrtrain.plugins.context import EpochInfo, RunInfo, StepInfo
from lrtrain.plugins.discovery import files_below
from lrtrain.plugins.loading import ActivePlugins, activate
from lrtrain.plugins.observers import Observers, Requests
from lrtrain.plugins.spec import Spec
from lrtrain.runs.conditions import model_version
from lrtrain.runs.directory import RunDir, make_directory, now
from lrtrain.runs.lock import writing
from lrtrain.runs.log_repair import cut_steps, lost_steps, restore_metrics
from lrtrain.runs.logs import RunLogs, count_epochs
from lrtrain.runs.versions import versions
from lrtrain.schedules.table import build_table, fingerprint, make_context

if TYPE_CHECKING:
    import jax
    from numpy.typing import NDArray


class Member:
    """A run in a wave; used as a context manager, which holds its logs open.

    What ends it (a hook, a loss that is not finite, a plugin that raises) leaves the wave going: its learning rate is 0
    from then on, so its parameters stay as they are.
    """

    def __init__(self, trial: Trial, run: RunInfo, observers: Observers, validation: str, examples: int) -> None:
        self.trial = trial
        self._run = run
        self._examples = examples
        self._observers = observers
        self._validation = validation
        self._logs = RunLogs(RunDir(run.directory))
        self._held = contextlib.ExitStack()
        self._factor = 1.0
        self._state: State = "finished"
        self._reason: str | None = None
        self._steps = 0
        self._history: list[EpochInfo] = []
        self._losses: list[float] = []
        self._applied = math.nan

    def begin(self) -> None:
        """Writes the head of its directory.

        Raises:
          RunDirError: the directory cannot be written.
        """
        directory = RunDir(self._run.directory)
        make_directory(directory.path)
        directory.write_config(dict(self._run.config))

    def __enter__(self) -> Member:
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
        """Returns the learning rates of some steps, as hooks have scaled them; 0 once the run is over."""
        factor = np.float32(0 if self.over else self._factor)
        rates: NDArray[np.float32] = self._run.learning_rates[begin:end] * factor
        return rates

    def deliver(self, first: int, rates: NDArray[np.float32], losses: NDArray[np.float32]) -> None:
        """Logs steps that are done and shows them to the hooks."""
        if self.over:
            return
        epoch = first // self._run.steps_per_epoch
        bad = np.flatnonzero(~np.isfinite(losses))
        count = int(bad[0]) + 1 if len(bad) else len(losses)
        rows = [(first + i, epoch, rates[i], losses[i]) for i in range(count)]
        self._logs.add_steps(rows)
        self._steps = first + count
        if len(bad):
            self._end("diverged", f"the loss is {losses[bad[0]]} at step {rows[-1][0]}")
            return
        self._losses.extend(map(float, losses))
        self._applied = float(rates[-1])
        if self._observers.watch_steps:
            self._heed(lambda: self._show(rows))

    def _show(self, rows: Sequence[tuple[int, int, np.float32, np.float32]]) -> Requests:
        requests = Requests()
        for step, epoch, rate, loss in rows:
            requests += self._observers.step(self._run, StepInfo(step, epoch, float(rate), float(loss)))
        return requests

    def end_epoch(self, epoch: int, loss: float, accuracy: float, seconds: float, trained: float) -> None:
        """Notes what an epoch has come to, and shows it to the hooks."""
        if not self._losses:
            return
        if not math.isfinite(loss) and not self.over:
            self._end("diverged", f"the validation loss is {loss} after step {self._steps - 1}")
        if self._state in ("diverged", "failed"):
            self._losses.clear()
            return
        batch = self._run.config["train"]["batch_size"]
        # The last batch of an epoch has what is left.
        counts = np.minimum(batch, self._examples - batch * np.arange(len(self._losses)))
        info = EpochInfo(
            epoch,
            self._steps,
            float(np.average(self._losses, weights=counts)),
            loss,
            accuracy,
            self._applied,
            seconds,
        )
        self._losses.clear()
        self._history.append(info)
        self._logs.add_epoch(info, counts.sum() / trained, measured_on=self._validation)
        if not self.over:
            self._heed(lambda: self._observers.epoch_end(self._run, info, self._history))

    def _heed(self, ask: Any) -> None:
        try:
            requests: Requests = ask()
        except TrainingError as error:
            self._end("failed", str(error))
            return
        self._factor *= requests.factor
        if requests.stop is not None:
            self._end("stopped", requests.stop)

    def _end(self, state: State, reason: str) -> None:
        self._state, self._reason = state, reason

    def to_json(self) -> dict[str, Any]:
        """Returns what it has come to at the end of an epoch, and makes its logs as safe as what is written of it."""
        self._logs.sync()
        return {
            "fingerprint": fingerprint(self._run.learning_rates),
            "versions": self._run.config["versions"],
            "factor": self._factor,
            "state": self._state,
            "reason": self._reason,
            "steps": self._steps,
            "history": [vars(epoch) for epoch in self._history],
        }

    def fits(self, values: Mapping[str, Any]) -> bool:
        """Tells whether it can take up what `to_json` has returned: learning rates, versions and logs are those."""
        directory = RunDir(self._run.directory)
        return (
            values["fingerprint"] == fingerprint(self._run.learning_rates)
            and values["versions"] == self._run.config["versions"]
            and directory.config.is_file()
            and not lost_steps(directory, values["steps"])
            and count_epochs(directory) >= len(values["history"])
        )

    def go_on(self, values: Mapping[str, Any]) -> None:
        """Takes up what `to_json` has returned, before its logs are opened; they are cut to what they were then."""
        self._factor, self._state, self._reason = values["factor"], values["state"], values["reason"]
        self._steps = values["steps"]
        self._history = [EpochInfo(**epoch) for epoch in values["history"]]
        directory = RunDir(self._run.directory)
        cut_steps(directory, self._steps)
        restore_metrics(directory, self._history, self._validation)

    def outcome(self, test: tuple[float, float] | None, seconds: float) -> Outcome:
        """Returns what has come of the run, the last epoch's measurement being the one that counts."""
        good = self._state in ("finished", "stopped") and bool(self._history)
        last = self._history[-1] if good else None
        test = test if good and test is not None and math.isfinite(test[0]) else None
        rates = self._run.learning_rates
        return Outcome(
            self.trial,
            self._state,
            self._reason,
            self._steps,
            last.test_loss if last else None,
            last.test_accuracy if last else None,
            test[0] if test else None,
            test[1] if test else None,
            (float(rates[0]), float(rates.max()), float(rates[-1])),
            seconds,
        )


def prepare(  # noqa: PLR0913, PLR0917
    plan: Plan, trial: Trial, path: Path, data: Data, steps_per_epoch: int, devices: Sequence[jax.Device]
) -> Member:
    """Builds the schedule of a trial.

    Raises:
      UsageError: its plugin cannot be loaded, or does not build a schedule that can be used.
    """
    row = next(row for row in plan.rows if row.label == trial.label)
    with files_below(plan.folder):
        active = activate([row.spec])
        table = build_table(active, make_context(steps_per_epoch * plan.train.epochs, steps_per_epoch))
    values = table.values * np.float32(trial.scale)
    config = _describe(plan, trial, active, table.spec, values, steps_per_epoch, devices)
    config["data"] = dict(data.identity)
    run = RunInfo(path, config, len(values), steps_per_epoch, plan.train.epochs, values)
    return Member(trial, run, Observers(active), "test" if plan.protocol == "as-is" else "validation", len(data.train))


def _describe(  # noqa: PLR0913, PLR0917
    plan: Plan,
    trial: Trial,
    active: ActivePlugins,
    spec: Spec,
    values: NDArray[np.float32],
    steps_per_epoch: int,
    devices: Sequence[jax.Device],
) -> dict[str, Any]:
    return {
        "plugins": [spec.table()],
        "schedule": {"plugin": 0, "start": 0, "steps": len(values), "fingerprint": fingerprint(values)},
        "train": dataclasses.replace(plan.train, seed=trial.seed).to_json(),
        "steps_per_epoch": steps_per_epoch,
        "total_steps": len(values),
        "versions": {**versions(*(plugin.entry for plugin in active.plugins)), **model_version(plan.train.model)},
        "device": {"kind": devices[0].device_kind, "count": 1},
        "started": now(),
        "comparison": {
            "stage": trial.stage,
            "label": trial.label,
            "scale": trial.scale,
            "split_seed": plan.train.seed,
            "holdout": plan.holdout,
        },
    }
