"""Logging to MLflow, as a plugin of lrtrain."""

from __future__ import annotations

import contextlib
import json
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from lrtrain import Doc, EpochInfo, PositiveInt, RunInfo, StepInfo, hookimpl

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

# What one request to a server takes.
_METRICS, _PARAMETERS, _LENGTH = 1000, 100, 6000


@dataclass(frozen=True)
class MLflow:
    """Logs the run's configuration, loss and learning rate of steps, and the metrics of epochs, to MLflow.

    Everything in ``config.json`` becomes a parameter: ``constant.value`` for an option of a plugin, ``train.epochs``
    for the rest. The metrics are ``loss`` and ``learning_rate`` of steps, ``train_loss``, ``test_loss`` and, for each
    metric of the workload, ``test_accuracy`` or the like of epochs; their step is the optimizer update, counted from 0,
    for an epoch its last one. They are sent after every epoch, and earlier when many are waiting.

    The id of MLflow's run is kept in the run directory, and a resumed run goes on with it: what it has already is not
    sent twice, and its parameters stay those it began with. The run is FINISHED after its last epoch; it is KILLED
    when it ends earlier, until it is resumed.

    Example:
      >>> import lrtrain
      >>> MLflow(interval=50).experiment
      'lrtrain'

    Reference: https://mlflow.org/docs/latest/ml/tracking/
    """

    tracking_uri: Annotated[
        str | None, Doc("server or database of MLflow; none: MLFLOW_TRACKING_URI, else what MLflow itself takes")
    ] = None
    experiment: Annotated[str, Doc("name of the experiment, made if it is not there")] = "lrtrain"
    interval: Annotated[PositiveInt, Doc("optimizer updates from one that is logged to the next")] = 10
    _links: dict[Path, _Link] = field(default_factory=dict, init=False, repr=False, compare=False)

    @hookimpl
    def on_step(self, run: RunInfo, step: StepInfo) -> None:
        """Keeps every update whose number is a multiple of ``interval``, to be sent."""
        link = self._link(run)
        if step.step % self.interval == 0 and step.step > link.last_step:
            link.add(step.step, {"loss": step.loss, "learning_rate": step.learning_rate})

    @hookimpl
    def on_epoch_end(self, run: RunInfo, epoch: EpochInfo) -> None:
        """Sends the metrics of the epoch and all that is waiting."""
        link, last = self._link(run), epoch.step - 1
        if last > link.last_epoch:
            tested = {f"test_{name}": value for name, value in epoch.means.items()}
            link.add(last, {"train_loss": epoch.train_loss, **tested})
        link.send()
        if epoch.step >= run.total_steps:
            link.end("FINISHED")

    def _link(self, run: RunInfo) -> _Link:
        if run.directory not in self._links:
            from mlflow import MlflowClient

            link = _Link(MlflowClient(tracking_uri=self.tracking_uri), run, self.experiment)
            self._links[run.directory] = link
            # No hook tells that the run has ended: a hook of another plugin may end it in the middle of an epoch.
            weakref.finalize(self, link.close)
        return self._links[run.directory]


class _Link:
    """MLflow's run of one of our runs, with the metrics that it has not been sent."""

    def __init__(self, client: MlflowClient, run: RunInfo, experiment: str) -> None:
        self._client = client
        self._waiting: list[Metric] = []
        self._ended = False
        file = run.directory / "mlflow" / "run.json"
        if file.is_file():
            self._id = str(json.loads(file.read_text(encoding="utf-8"))["run_id"])
            client.set_terminated(self._id, "RUNNING")
        else:
            self._id = _created(client, run, experiment)
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps({"run_id": self._id}) + "\n", encoding="utf-8")
        # A run that was killed had sent steps that came after its checkpoint, and are done again.
        self.last_step = self._newest("learning_rate")
        self.last_epoch = self._newest("test_loss")

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the metrics of a step, and sends what is waiting if it is much."""
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        self._waiting += [Metric(name, value, now, step) for name, value in values.items()]
        if len(self._waiting) > _METRICS // 2:
            self.send()

    def send(self) -> None:
        """Sends what is waiting."""
        if self._waiting:
            self._client.log_batch(self._id, metrics=self._waiting)
            self._waiting = []

    def end(self, status: str) -> None:
        """Tells MLflow that the run has ended."""
        self._client.set_terminated(self._id, status)
        self._ended = True

    def close(self) -> None:
        """Sends the rest of a run that ended before its last epoch did; a server that has gone is left in peace."""
        from mlflow.exceptions import MlflowException

        if not self._ended:
            with contextlib.suppress(MlflowException):
                self.send()
                self.end("KILLED")

    def _newest(self, metric: str) -> int:
        return max((each.step for each in self._client.get_metric_history(self._id, metric)), default=-1)


def _created(client: MlflowClient, run: RunInfo, experiment: str) -> str:
    from mlflow.entities import Param

    found = client.get_experiment_by_name(experiment)
    home = client.create_experiment(experiment) if found is None else found.experiment_id
    run_id = str(client.create_run(home, run_name=run.directory.name).info.run_id)
    parameters = [Param(name, value[:_LENGTH]) for name, value in _parameters(run.config)]
    for begin in range(0, len(parameters), _PARAMETERS):
        client.log_batch(run_id, params=parameters[begin : begin + _PARAMETERS])
    return run_id


def _parameters(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the run's configuration as names and texts; this plugin's own options say nothing of the run."""
    for table in config["plugins"]:
        if table["plugin"] != "mlflow":
            yield from _flat({table["plugin"]: {key: value for key, value in table.items() if key != "plugin"}})
    yield "plugins", ", ".join(table["plugin"] for table in config["plugins"])
    yield from _flat({key: value for key, value in config.items() if key not in ("plugins", "resumed")})


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)
