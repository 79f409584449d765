"""The host side of a run: what is logged, what the hooks see, and when the learning rate follows what they ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lrtrain.plugins.context import EpochInfo, MeasuredOn, RunInfo, StepInfo
from lrtrain.plugins.observers import Observers, Requests
from lrtrain.runs.logs import Logs
from lrtrain.training.position import Position

if TYPE_CHECKING:
    from numpy.typing import NDArray


# Calls what asks the hooks, and returns what they ask for.
Agreed: TypeAlias = Callable[[Callable[[], Requests]], Requests]


class DivergedError(Exception):
    """A loss that is not finite.

    Args:
      what: says which loss, and at which step.
      step: that step.
      rate: the learning rate that was applied to it.
    """

    def __init__(self, what: str, step: int, rate: float) -> None:
        super().__init__(what)
        self.what = what
        self.step = step
        self.rate = rate


class Recorder:
    """Records one run, whether it is trained alone or with others at once.

    What hooks ask for at a step is applied two chunks later, or at the end of the epoch: the device is ahead by a
    chunk, and wherever a run is stopped and resumed, it is applied at the same step.
    """

    def __init__(  # noqa: PLR0913  # what it stands between
        self,
        run: RunInfo,
        observers: Observers,
        logs: Logs,
        chunk_steps: int,
        position: Position,
        *,
        measured_on: MeasuredOn = "test",
        agreed: Agreed = lambda ask: ask(),
    ) -> None:
        """Begins at the position of a checkpoint, or at the first step.

        Args:
          run: what is trained.
          observers: the plugins that see it.
          logs: where its steps and epochs are written.
          chunk_steps: steps that are sent to the device at once.
          position: where it begins.
          measured_on: what the loss and accuracy of an epoch are measured on: ``"test"`` or ``"validation"``.
          agreed: calls what asks the hooks; the processes of a distributed run agree on one answer.
        """
        self.run = run
        self.logs = logs
        self._observers = observers
        self._chunk_steps = chunk_steps
        self._measured_on = measured_on
        self._agreed = agreed
        self._factor = position.factor
        self._history = list(position.history)
        self._losses = list(position.epoch_losses)
        self._pending = {step: Requests(factor, stop) for step, factor, stop in position.pending}
        self._stopped = position.stopped
        self._seed = position.seed
        self._applied = math.nan

    @property
    def history(self) -> tuple[EpochInfo, ...]:
        """The epochs done, those before a resume included."""
        return tuple(self._history)

    @property
    def stopped(self) -> str | None:
        """Why a hook has stopped the run; None while none has."""
        return self._stopped

    def rates(self, begin: int, end: int) -> NDArray[np.float32]:
        """Returns the learning rates of steps that are sent next, as hooks have scaled them: float32[end - begin]."""
        rates: NDArray[np.float32] = self.run.learning_rates[begin:end] * np.float32(self._factor)
        return rates

    def apply_due_requests(self, step: int) -> None:
        """Applies what hooks have asked for and is due before ``step`` is sent."""
        for due in [due for due in sorted(self._pending) if due <= step]:
            self._apply(self._pending.pop(due))

    def steps(self, first: int, rates: NDArray[np.float32], losses: NDArray[np.float32]) -> StepInfo:
        """Logs steps that are done, and shows them to the hooks.

        Args:
          first: the first of them, counted from the beginning of the run.
          rates: float32[steps], as they were applied.
          losses: float32[steps].

        Returns:
          The last one.

        Raises:
          DivergedError: a loss is not finite; its step is the last one that is logged, and no hook sees these steps.
          TrainingError: a hook has raised, or the logs cannot be written.
        """
        epoch = first // self.run.steps_per_epoch
        finite = np.isfinite(losses)
        count = len(losses) if finite.all() else int(np.argmin(finite)) + 1
        rows = [(first + i, epoch, rates[i], losses[i]) for i in range(count)]
        self.logs.add_steps(rows)
        last = StepInfo(first + count - 1, epoch, float(rates[count - 1]), float(losses[count - 1]))
        if not math.isfinite(last.loss):
            raise DivergedError(f"the loss is {losses[count - 1]} at step {last.step}", last.step, last.learning_rate)
        self._losses.extend(map(float, losses))
        self._applied = last.learning_rate
        if self._observers.watch_steps:
            self._show([StepInfo(step, epoch, float(rate), float(loss)) for step, _, rate, loss in rows])
        return last

    def epoch(  # noqa: PLR0913  # what was measured in it
        self,
        epoch: int,
        loss: float,
        accuracy: float,
        *,
        examples: NDArray[Any],
        seconds: float,
        examples_per_second: float,
    ) -> EpochInfo:
        """Logs an epoch that is done, and shows it to the hooks; what they ask for is applied from the next step on.

        Args:
          epoch: its number, from 0.
          loss: mean over the examples that it is measured on.
          accuracy: share of those, 0 to 1.
          examples: how many each of its steps had.
          seconds: time for training and evaluation.
          examples_per_second: of the training alone.

        Raises:
          DivergedError: the loss is not finite; nothing is logged.
          TrainingError: a hook has raised, or the logs cannot be written.
        """
        step = (epoch + 1) * self.run.steps_per_epoch
        if not math.isfinite(loss):
            raise DivergedError(
                f"the {self._measured_on} loss is {loss} after step {step - 1}", step - 1, self._applied
            )
        mean = float(np.average(np.asarray(self._losses), weights=examples))
        applied, measured_on = self._applied, self._measured_on
        info = EpochInfo(epoch, step, mean, loss, accuracy, applied, seconds, measured_on, examples_per_second)
        self._history.append(info)
        self._losses.clear()
        self.logs.add_epoch(info)
        if self._observers.watch_epochs:
            self._apply(self._agreed(lambda: self._observers.epoch_end(self.run, info, self._history)))
        return info

    def position(self, step: int) -> Position:
        """Returns the position of the run after ``step`` updates, as a checkpoint keeps it."""
        pending = tuple((due, asked.factor, asked.stop) for due, asked in self._pending.items())
        return Position(
            step, self._factor, self._seed, self.history, tuple(self._losses), stopped=self._stopped, pending=pending
        )

    def _show(self, infos: Sequence[StepInfo]) -> None:
        due = self._due(infos[0].step)
        # Factor by factor, so that the product is the same bits however a chunk was cut.
        before = self._pending.get(due, Requests())
        asked = self._agreed(lambda: sum((self._observers.step(self.run, info) for info in infos), before))
        if asked != Requests():
            self._pending[due] = asked

    def _due(self, step: int) -> int:
        """Returns the step before which is applied what hooks ask for at ``step``."""
        size, length = self._chunk_steps, self.run.steps_per_epoch
        first = step - step % length
        return first + min(((step - first) // size + 2) * size, length)

    def _apply(self, requests: Requests) -> None:
        self._factor *= requests.factor
        self._stopped = self._stopped or requests.stop
