"""The training loop: epochs, chunks of steps, hooks, evaluation, logs and checkpoints."""

from __future__ import annotations

import contextlib
import json
import math
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.engine.order import epoch_order
from lrtrain.engine.processes import Processes
from lrtrain.errors import LrtrainError, TrainingError
from lrtrain.plugins.context import EpochInfo, RunInfo, StepInfo
from lrtrain.plugins.observers import Observers, Requests
from lrtrain.runs.config import TrainConfig
from lrtrain.runs.logs import Logs
from lrtrain.signals import Ending
from lrtrain.training.checkpoint_rule import CheckpointRule
from lrtrain.training.checkpoints import Checkpoints
from lrtrain.training.chunks import chunks, part_of
from lrtrain.training.pace import Pace
from lrtrain.training.position import Progress
from lrtrain.training.reporter import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lrtrain.data.stream import Stream
    from lrtrain.engine.engine import Engine, Examples, Losses, TrainState


@dataclass(frozen=True, eq=False)
class Setup:
    """What a loop works with; none of it changes while it runs.

    ``meanwhile`` is called whenever the devices have steps to do: the time for work that is not waited for.
    """

    config: TrainConfig
    num_examples: int
    num_test_examples: int
    engine: Engine
    run: RunInfo
    observers: Observers
    checkpoints: Checkpoints
    logs: Logs
    reporter: Reporter
    processes: Processes
    meanwhile: Callable[[], object]
    rule: CheckpointRule
    ending: Ending
    stream: Stream | None = None
    """Where the training examples come from if the devices do not hold them."""


@dataclass(frozen=True, eq=False)
class _Piece:
    """Steps that have been sent to the device: from which step on, at which learning rates, with how many examples."""

    first: int
    rates: NDArray[np.float32]
    examples: NDArray[np.float32]
    losses: Losses


class Loop:
    """Trains from one progress to the end of the run, or to where a hook or a signal stops it.

    Steps are sent in chunks, and a chunk in pieces. What hooks ask for at a step acts two chunks later, or at the end
    of the epoch: wherever a run is stopped and resumed, it acts at the same step.
    """

    def __init__(self, setup: Setup, state: TrainState, progress: Progress) -> None:
        self._setup = setup
        self._state = state
        self._step = progress.step
        self._scale = progress.scale
        self._history = list(progress.history)
        self._epoch_losses = list(progress.epoch_losses)
        self._asked = {step: Requests(factor, stop) for step, factor, stop in progress.asked}
        self._stop = progress.stopped
        self._applied = float("nan")
        self._delivered_at = time.perf_counter()
        self._waiting: _Piece | None = None
        self._pace = Pace(setup.engine.chunk_steps, setup.rule, measured=setup.processes.alone)

    @property
    def step(self) -> int:
        """Optimizer updates done."""
        return self._step

    @property
    def history(self) -> tuple[EpochInfo, ...]:
        """The epochs done, those before a resume included."""
        return tuple(self._history)

    def run(self) -> str | None:
        """Trains; returns the reason why a hook has stopped the run, or None at its end.

        Raises:
          KeyboardInterrupt: a signal has ended it; there is a checkpoint of the last step.
          Terminated: likewise.
        """
        run, ending = self._setup.run, self._setup.ending
        for epoch in range(self._step // run.steps_per_epoch, run.epochs):
            if self._stop is not None or ending.asked:
                break
            self._epoch(epoch)
        self._setup.checkpoints.wait()
        if ending.asked and self._stop is None and self._step < run.total_steps:
            raise ending.error()
        return self._stop

    def evaluate(self) -> tuple[float, float]:
        """Returns mean loss and accuracy on the test set, as the parameters are now."""
        if self._history and self._history[-1].step == self._step:
            return self._history[-1].test_loss, self._history[-1].test_accuracy
        loss, accuracy = self._setup.engine.evaluate(self._state)
        # The device counts in float32; the share of a whole number of images is given exactly.
        tests = self._setup.num_test_examples
        return float(loss), round(float(accuracy) * tests) / tests

    def _epoch(self, epoch: int) -> None:
        config, run = self._setup.config, self._setup.run
        began = self._delivered_at = time.perf_counter()
        order, weights = epoch_order(
            config.seed, epoch, self._setup.num_examples, config.batch_size, shuffle=config.shuffle
        )
        done = self._step - epoch * run.steps_per_epoch
        self._train(order, weights, done)
        trained = time.perf_counter()
        if over := self._step == (epoch + 1) * run.steps_per_epoch:
            self._heed_due()
            speed = float(weights[done:].sum()) / (trained - began)
            self._end_epoch(epoch, weights.sum(axis=1), began, speed)
        last = self._stop is not None or self._setup.ending.asked or self._step == run.total_steps
        if last or (over and self._setup.rule.after_epoch(epoch)):
            self._save()

    def _train(self, order: NDArray[np.int32], weights: NDArray[np.float32], done: int) -> None:
        """Sends chunk after chunk to the device, until a hook or a signal stops it."""
        engine, stream = self._setup.engine, self._setup.stream
        with contextlib.closing(chunks(engine, stream, order, weights, done)) as parts:
            for examples, weight in parts:
                self._heed_due()
                if self._stop is not None or not self._train_chunk(examples, weight):
                    break
        self._settle()

    def _train_chunk(self, examples: Examples, weights: NDArray[np.float32]) -> bool:
        """Sends piece after piece, and deals with each while the next one runs; returns False when a signal came."""
        first, end = self._step, self._step + len(weights)
        for begin, until in self._pace.pieces(first, end):
            if self._setup.ending.asked:
                return False
            part = slice(begin - first, until - first)
            self._send(part_of(examples, part), weights[part])
            # At the end of an epoch comes the checkpoint that has its evaluation.
            if until % self._setup.run.steps_per_epoch and self._is_checkpoint_due():
                self._settle()
                self._save()
        return True

    def _send(self, examples: Examples, weights: NDArray[np.float32]) -> None:
        rates = self._rates(self._step, self._step + len(weights))
        self._state, losses = self._setup.engine.run_steps(self._state, examples, weights, rates)
        self._setup.meanwhile()
        self._setup.checkpoints.write()
        self._settle()
        self._waiting = _Piece(self._step, rates, weights.sum(axis=1), losses)
        self._step += len(weights)

    def _settle(self) -> None:
        """Deals with the piece that has been sent and not been dealt with."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._deliver(waiting)

    def _is_checkpoint_due(self) -> bool:
        if not self._pace.timed:
            return self._pace.is_step(self._step)
        # The clocks of several processes do not agree.
        return self._setup.processes.from_main(lambda: json.dumps(self._pace.is_time())) == "true"

    def _rates(self, begin: int, end: int) -> NDArray[np.float32]:
        rates: NDArray[np.float32] = self._setup.run.learning_rates[begin:end] * np.float32(self._scale)
        return rates

    def _deliver(self, piece: _Piece) -> None:
        """Waits for a piece, logs it, and shows every step of it to the hooks."""
        losses = np.asarray(piece.losses)
        epoch = piece.first // self._setup.run.steps_per_epoch
        finite = int(np.argmin(np.isfinite(losses))) if not np.isfinite(losses).all() else len(losses)
        rows = [(piece.first + i, epoch, piece.rates[i], losses[i]) for i in range(min(finite + 1, len(losses)))]
        self._setup.logs.add_steps(rows)
        if finite < len(losses):
            raise self._diverged(f"the loss is {losses[finite]} at step {rows[-1][0]}", float(piece.rates[finite]))
        self._epoch_losses.extend(map(float, losses))
        last = StepInfo(int(rows[-1][0]), epoch, float(piece.rates[-1]), float(losses[-1]))
        self._applied = last.learning_rate
        self._setup.reporter.stepped(last, self._speed(piece))
        self._show(rows)

    def _show(self, rows: list[tuple[int, int, np.float32, np.float32]]) -> None:
        observers, run = self._setup.observers, self._setup.run
        if not observers.watch_steps:
            return
        infos = [StepInfo(step, epoch, float(rate), float(loss)) for step, epoch, rate, loss in rows]
        due = self._due(infos[0].step)
        # Factor by factor, so that the product is the same bits however a chunk was cut.
        before = self._asked.get(due, Requests())
        asked = self._agreed(lambda: sum((observers.step(run, info) for info in infos), before))
        if asked != Requests():
            self._asked[due] = asked

    def _due(self, step: int) -> int:
        """Returns the step from which on acts what hooks ask for at ``step``."""
        size, length = self._setup.engine.chunk_steps, self._setup.run.steps_per_epoch
        first = step - step % length
        return first + min(((step - first) // size + 2) * size, length)

    def _show_epoch(self, info: EpochInfo) -> Requests:
        observers = self._setup.observers
        if not observers.watch_epochs:
            return Requests()
        return self._agreed(lambda: observers.epoch_end(self._setup.run, info, self._history))

    def _agreed(self, ask: Callable[[], Requests]) -> Requests:
        """Asks in the main process, for all: hooks may look at a clock, and the processes would drift apart."""
        try:
            return Requests(**json.loads(self._setup.processes.from_main(lambda: json.dumps(vars(ask())))))
        except LrtrainError as error:
            raise TrainingError(f"{error}; {self._how_to_go_on()}") from error

    def _how_to_go_on(self) -> str:
        """Says what is left of a run that one of its plugins has ended."""
        saved = self._setup.checkpoints
        saved.wait()
        step = saved.latest()
        if step is None:
            return "there is no checkpoint yet, so the run has to begin anew"
        directory = shlex.quote(str(self._setup.run.directory))
        return (
            f"the checkpoint of step {step} is kept, and once the plugin is fixed "
            f"lrtrain --resume --accept-code-change --run-dir {directory} continues the run"
        )

    def _speed(self, piece: _Piece) -> float:
        """Returns examples per second since the piece before was done."""
        before, self._delivered_at = self._delivered_at, time.perf_counter()
        seconds = max(self._delivered_at - before, 1e-9)
        self._pace.took(len(piece.rates), seconds)
        return float(piece.examples.sum()) / seconds

    def _heed(self, requests: Requests) -> None:
        self._scale *= requests.factor
        self._stop = self._stop or requests.stop

    def _heed_due(self) -> None:
        for step in [step for step in sorted(self._asked) if step <= self._step]:
            self._heed(self._asked.pop(step))

    def _end_epoch(self, epoch: int, examples: NDArray[np.float32], began: float, speed: float) -> None:
        """Evaluates, asks the hooks, and logs the epoch."""
        test_loss, test_accuracy = self.evaluate()
        if not math.isfinite(test_loss):
            raise self._diverged(f"the test loss is {test_loss} after step {self._step - 1}", self._applied)
        info = EpochInfo(
            epoch=epoch,
            step=self._step,
            train_loss=float(np.average(self._epoch_losses, weights=examples)),
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            learning_rate=self._applied,
            seconds=time.perf_counter() - began,
        )
        self._history.append(info)
        self._epoch_losses.clear()
        self._heed(self._show_epoch(info))
        self._setup.logs.add_epoch(info, speed)
        self._setup.reporter.epoch_ended(info, speed)

    def _save(self) -> None:
        progress = Progress(
            step=self._step,
            scale=self._scale,
            seed=self._setup.config.seed,
            history=self.history,
            epoch_losses=tuple(self._epoch_losses),
            stopped=self._stop,
            asked=tuple((step, asked.factor, asked.stop) for step, asked in self._asked.items()),
        )
        run, checkpoints = self._setup.run, self._setup.checkpoints
        checkpoints.save(self._state, run.learning_rates, progress, first=self._setup.logs.sync)
        # It is written beside the next steps. Several processes would wait for these, as they meet on their devices.
        if not self._setup.processes.alone:
            checkpoints.write()
        self._pace.saved()

    def _diverged(self, what: str, rate: float) -> TrainingError:
        self._setup.checkpoints.wait()
        kept = (
            f"the checkpoint of step {self._history[-1].step} is kept"
            if self._history
            else "there is no checkpoint yet"
        )
        return TrainingError(f"{what}, at a learning rate of {rate:g}: a lower one is needed ({kept})")
