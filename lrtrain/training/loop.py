"""The training loop: epochs, chunks of steps that are sent to the device, evaluation and checkpoints."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrain.engine.processes import Processes
from lrtrain.errors import LrtrainError, TrainingError
from lrtrain.plugins.context import EpochInfo, RunInfo
from lrtrain.plugins.observers import Requests
from lrtrain.runs.command import how_to_go_on
from lrtrain.signals import Ending, error_of
from lrtrain.training.checkpoints import Checkpoints, on_host
from lrtrain.training.chunks import Pace, chunks, portion_of
from lrtrain.training.job import Job
from lrtrain.training.orders import Orders
from lrtrain.training.prepare import Loaded
from lrtrain.training.recorder import Agreed, DivergedError, Recorder
from lrtrain.training.reporter import Reporter
from lrtrain.training.start import Start

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lrtrain.engine.engine import Examples, Losses
    from lrtrain.engine.state import Means, TrainState


@dataclass(frozen=True, eq=False)
class _Sent:
    """A portion on the devices: its first step; the learning rate, the number of examples and the loss of each step."""

    first: int
    rates: NDArray[np.float32]
    examples: NDArray[np.float32]
    losses: Losses


@dataclass(frozen=True, eq=False)
class _Ended:
    """An epoch whose steps are done, and whose evaluation is on the devices or done: it is to be recorded.

    It has the number of examples of each step, the examples per second, and the checkpoint's copy if one is due;
    and ``info`` when the hooks have seen it.
    """

    epoch: int
    examples: NDArray[np.float32]
    speed: float
    means: Means
    copy: TrainState | None
    info: EpochInfo | None = None


@dataclass(eq=False)
class Loop:
    """Trains from one position to the end of the run, or to where a hook or a signal stops it.

    Steps are sent chunk by chunk, and each chunk in portions; the evaluation of an epoch directly after its last one.
    While it runs, these steps are recorded, and the next epoch begins: the last one is recorded once the devices have
    their next steps. Only a hook that sees epochs is called before, for its answer decides how these are trained.
    ``meanwhile`` is called each time the devices have been given steps, for work that can be done while they run.
    ``step`` is the number of the updates done.
    """

    job: Job
    loaded: Loaded
    start: Start
    recorder: Recorder
    checkpoints: Checkpoints
    reporter: Reporter
    processes: Processes
    meanwhile: Callable[[], object]
    ending: Ending

    def __post_init__(self) -> None:
        self.step = self.start.position.step
        self._engine, self._state = self.loaded.engine, self.start.state
        self._examples, self._measured = self.loaded.sizes[0], len(self.loaded.measured)
        self._run, self._rule = self.recorder.run, self.job.rule
        self._began = self._delivered_at = time.perf_counter()
        # Where they are held back, the first one is not: that it cannot be written is to be seen early.
        self._saved_at = -math.inf if self._rule.apart else time.monotonic()
        self._in_flight: _Sent | None = None
        self._means: Means = {}
        self._ended: _Ended | None = None
        self._next_sent_at: float | None = None
        self._pace = Pace(self._engine.chunk_steps, self._rule, measured=self.processes.alone)

    def train(self) -> str | None:
        """Trains; returns the reason why a hook has stopped the run, or None at its end.

        Raises:
          KeyboardInterrupt, Terminated: Ctrl-C or SIGTERM has ended the run; there is a checkpoint of the last step.
          TrainingError: the loss is not finite, or the logs or checkpoints cannot be written.
        """
        try:
            self._epochs()
        except DivergedError as error:
            raise self._diverged(error) from error
        self.checkpoints.wait()
        asked = self.ending.signal
        if asked is not None and self.recorder.stopped is None and self.step < self._run.total_steps:
            raise error_of(asked)
        return self.recorder.stopped

    def evaluate(self) -> dict[str, float]:
        """Returns the mean loss and metrics on what the epochs are measured on, with the present parameters."""
        history = self.recorder.history
        if history and history[-1].step == self.step:
            return history[-1].means
        means = self._engine.exact(self._engine.evaluate(self._state), self._measured)
        return {name: float(values) for name, values in means.items()}

    def test(self) -> dict[str, float]:
        """Returns the mean loss and metrics on the test set with the present parameters."""
        if self.loaded.validation is None:
            return self.evaluate()
        test = self.loaded.test
        means = self._engine.exact(self._engine.evaluate_on(self._state, test), len(test))
        return {name: float(values) for name, values in means.items()}

    def _epochs(self) -> None:
        length, config = self._run.steps_per_epoch, self.job.config
        with Orders(config, self._examples) as orders:
            try:
                for epoch in range(self.step // length, self._run.epochs):
                    if self._is_over():
                        break
                    self._epoch(epoch, *orders.of(epoch))
            except Exception:
                # The next steps could not be sent, or not be recorded.
                self._finish_epoch()
                raise
            self._finish_epoch()
        if self.step > self.start.position.step:
            self._save()

    def _is_over(self) -> bool:
        return self.recorder.stopped is not None or self.ending.signal is not None

    def _epoch(self, epoch: int, order: NDArray[np.int32], weights: NDArray[np.float32]) -> None:
        if self._ended is None:
            self._began = self._delivered_at = time.perf_counter()
        end = (epoch + 1) * self._run.steps_per_epoch
        done = self.step - end + len(order)
        self._send_steps(order, weights, done)
        if self.step < end:
            return
        # The copy is taken while the devices evaluate.
        self.recorder.apply_due_requests(end)
        is_due = self._rule.after_epoch(epoch) and end < self._run.total_steps
        speed = float(weights[done:].sum()) / (self._delivered_at - self._began)
        copy = on_host(self._state) if is_due else None
        ended = _Ended(epoch, weights.sum(axis=1), speed, self._means, copy)
        self._next_sent_at = None
        if self.recorder.observers.watch_epochs:
            ended = dataclasses.replace(ended, info=self._shown(ended))
            # The time of the hooks belongs to no epoch.
            self._began = self._delivered_at = time.perf_counter()
        self._ended = ended
        if not self._goes_ahead():
            self._finish_epoch()

    def _goes_ahead(self) -> bool:
        """Returns whether the next epoch begins before the last one is recorded.

        What is read from a stream may come late, and several processes agree on each epoch.
        """
        return self.processes.alone and self.loaded.stream is None

    def _shown(self, ended: _Ended) -> EpochInfo:
        """Waits for the evaluation of an epoch, and has the hooks see it."""
        was_done = all(map(_is_ready, ended.means.values()))
        means = {name: float(each) for name, each in self._engine.exact(ended.means, self._measured).items()}
        # The next steps run from the end of the evaluation; or since they were sent, if that was over before.
        before, sent_at = self._began, self._next_sent_at if was_done else None
        self._began = self._delivered_at = time.perf_counter() if sent_at is None else sent_at
        how = {"seconds": self._began - before, "examples_per_second": ended.speed}
        return self.recorder.epoch(ended.epoch, means, examples=ended.examples, **how)

    def _finish_epoch(self) -> None:
        """Records the epoch that has ended, if one has."""
        ended, self._ended = self._ended, None
        if ended is None:
            return
        info = ended.info or self._shown(ended)
        self.recorder.log(info)
        self.reporter.epoch_ended(info, ended.speed)
        if ended.copy is not None:
            held = self.processes.alone and self._rule.holds_back(info.seconds, time.monotonic() - self._saved_at)
            self._save_copy(ended.copy, info.step, at_once=not held)

    def _send_steps(self, order: NDArray[np.int32], weights: NDArray[np.float32], done: int) -> None:
        """Sends chunk after chunk to the device, until a hook or a signal stops it."""
        with contextlib.closing(chunks(self.loaded, order, weights, done)) as chunks_left:
            for examples, weight in chunks_left:
                self.recorder.apply_due_requests(self.step)
                if self.recorder.stopped is not None or not self._send_chunk(examples, weight):
                    break
        self._finish_in_flight()

    def _send_chunk(self, examples: Examples, weights: NDArray[np.float32]) -> bool:
        """Sends portion after portion, and records each while the next one runs; returns False when a signal came."""
        first, end = self.step, self.step + len(weights)
        for begin, until in self._pace.portions(first, end):
            if self.ending.signal is not None:
                return False
            portion = slice(begin - first, until - first)
            self._send(portion_of(examples, portion), weights[portion])
            # At the end of an epoch, the checkpoint is saved after the evaluation.
            if until % self._run.steps_per_epoch and self._is_checkpoint_due():
                self._finish_in_flight()
                self._save()
        return True

    def _send(self, examples: Examples, weights: NDArray[np.float32]) -> None:
        rates = self.recorder.rates(self.step, self.step + len(weights))
        self._next_sent_at = self._next_sent_at or time.perf_counter()
        self._state, losses = self._engine.run_steps(self._state, examples, weights, rates)
        self.meanwhile()
        first, self.step = self.step, self.step + len(weights)
        if self.step % self._run.steps_per_epoch == 0:
            self._means = self._engine.evaluate(self._state)
        self._finish_epoch()
        self.checkpoints.write()
        self._finish_in_flight()
        self._in_flight = _Sent(first, rates, weights.sum(axis=1), losses)

    def _finish_in_flight(self) -> None:
        """Waits for the portion that is on the device, if one is, and records it."""
        sent, self._in_flight = self._in_flight, None
        if sent is None:
            return
        losses = np.asarray(sent.losses)
        before, self._delivered_at = self._delivered_at, time.perf_counter()
        seconds = max(self._delivered_at - before, 1e-9)
        self._pace.took(len(sent.rates), seconds)
        last = self.recorder.steps(sent.first, sent.rates, losses)
        self.reporter.stepped(last, float(sent.examples.sum()) / seconds)

    def _is_checkpoint_due(self) -> bool:
        steps, seconds = self._rule.steps, self._rule.seconds
        if seconds is None:
            return steps is not None and self.step % steps == 0
        # The clocks of several processes differ, so the main process decides.
        return self.processes.from_main(lambda: json.dumps(time.monotonic() - self._saved_at >= seconds)) == "true"

    def _save(self) -> None:
        self._save_copy(on_host(self._state), self.step, at_once=True)

    def _save_copy(self, copy: TrainState, step: int, *, at_once: bool) -> None:
        position, logs = self.recorder.position(step), self.recorder.logs
        self.checkpoints.save(copy, self._run.learning_rates, position, first=logs.sync, at_once=at_once)
        # A single process writes it while the next steps run. Several processes synchronise on their devices to write
        # it, and would wait for those steps.
        if not self.processes.alone:
            self.checkpoints.write()
        if at_once:
            self._saved_at = time.monotonic()

    def _diverged(self, error: DivergedError) -> TrainingError:
        self.checkpoints.wait()
        step = self.checkpoints.latest()
        kept = "there is no checkpoint yet" if step is None else f"the checkpoint of step {step} is kept"
        return TrainingError(f"{error.what}, at a learning rate of {error.rate:g}: a lower one is needed ({kept})")


def _is_ready(array: Any) -> bool:
    """Returns whether an array is computed; the type of JAX's arrays does not say that they know."""
    return bool(array.is_ready())


def agreement(processes: Processes, checkpoints: Checkpoints, run: RunInfo) -> Agreed:
    """Returns the function that calls the hooks in the main process for all: a hook may depend on the clock."""

    def agreed(ask: Callable[[], Requests]) -> Requests:
        try:
            return Requests(**json.loads(processes.from_main(lambda: json.dumps(vars(ask())))))
        except LrtrainError as error:
            raise TrainingError(f"{error}; {_how_to_go_on(checkpoints, run)}") from error

    return agreed


def _how_to_go_on(checkpoints: Checkpoints, run: RunInfo) -> str:
    """Returns how to continue a run that an error of a plugin has ended."""
    checkpoints.wait()
    step = checkpoints.latest()
    if step is None:
        return "there is no checkpoint yet, so the run has to begin again"
    return (
        f"the checkpoint of step {step} is kept, and once the plugin is fixed "
        f"{how_to_go_on(run.directory, 'run', '--accept-code-change')}"
    )
