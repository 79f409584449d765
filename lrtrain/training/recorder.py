"""The host side of a run: logging, calling the hooks, and applying what they ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lrtrain.plugins.context import EpochInfo, MeasuredOn, RunInfo, StepInfo
from lrtrain.plugins.observers import Observers, Requests
from lrtrain.runs.logs import Logs
from lrtrain.training.position import Position

if TYPE_CHECKING:
    from numpy.typing import NDArray


# Calls the function that calls the hooks, and returns what they ask for.
Agreed: TypeAlias = Callable[[Callable[[], Requests]], Requests]


class DivergedError(Exception):
    """A loss that is not finite, with its step and learning rate; ``what`` says so in words."""

    def __init__(self, what: str, step: int, rate: float) -> None:
        super().__init__(what)
        self.what = what
        self.step = step
        self.rate = rate


@dataclass(eq=False)
class Recorder:
    """Records one run, which is trained alone or together with other runs.

    ``history`` holds the epochs done, those before a resume included, and ``stopped`` why a hook has stopped the run.

    What hooks ask for at a step is applied two chunks later, or at the end of the epoch: the device is one chunk ahead,
    and a request must be applied at the same step wherever the run is stopped and resumed.

    It begins at the ``start``, the position of a checkpoint or the first step. ``agreed`` calls the hooks; in a
    distributed run, all processes receive the same answer.
    """

    run: RunInfo
    observers: Observers
    logs: Logs
    chunk_steps: int
    start: Position
    measured_on: MeasuredOn = field(default="test", kw_only=True)
    agreed: Agreed = field(default=lambda ask: ask(), kw_only=True)

    def __post_init__(self) -> None:
        self.history, self.stopped = self.start.history, self.start.stopped
        self._factor = self.start.factor
        self._losses = list(self.start.epoch_losses)
        self._pending = {step: Requests(factor, stop) for step, factor, stop in self.start.pending}
        self._applied = math.nan

    def rates(self, begin: int, end: int) -> NDArray[np.float32]:
        """Returns the learning rates of the next steps, times the factor of the hooks: float32[end - begin]."""
        rates: NDArray[np.float32] = self.run.learning_rates[begin:end] * np.float32(self._factor)
        return rates

    def apply_due_requests(self, step: int) -> None:
        """Applies the pending requests of hooks that are due before ``step`` is sent."""
        for due in [due for due in sorted(self._pending) if due <= step]:
            self._apply(self._pending.pop(due))

    def steps(self, first: int, rates: NDArray[np.float32], losses: NDArray[np.float32]) -> StepInfo:
        """Logs finished steps, calls the hooks with them, and returns the last one.

        ``first`` is counted from the beginning of the run, and ``rates`` are those that were applied.

        Raises:
          DivergedError: a loss is not finite; its step is the last one that is logged, and no hook is called.
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
        if self.observers.watch_steps:
            self._show([StepInfo(step, epoch, float(rate), float(loss)) for step, _, rate, loss in rows])
        return last

    def epoch(  # all that the line of an epoch holds; most by keyword
        self,
        epoch: int,
        means: Mapping[str, float],
        *,
        examples: NDArray[Any],
        seconds: float,
        examples_per_second: float,
    ) -> EpochInfo:
        """Calls the hooks with a finished epoch; what they ask for is applied from the next step on.

        `log` is to follow: a run whose last epoch is logged is finished, and one whose hook has raised there is not.
        ``means`` are the loss and the metrics of the examples that it is measured on. ``examples`` are those of each
        step, ``seconds`` are for training and evaluation, ``examples_per_second`` for the training alone.

        Raises:
          DivergedError: the loss is not finite.
          TrainingError: a hook has raised.
        """
        step = (epoch + 1) * self.run.steps_per_epoch
        for name, value in means.items():
            if not math.isfinite(value):
                what = f"the {self.measured_on} {name} is {value} after step {step - 1}"
                raise DivergedError(what, step - 1, self._applied)
        mean = float(np.average(np.asarray(self._losses), weights=examples))
        applied, measured_on = self._applied, self.measured_on
        further = {name: value for name, value in means.items() if name not in {"loss", "accuracy"}}
        loss, accuracy = means["loss"], means.get("accuracy", math.nan)
        info = EpochInfo(epoch, step, mean, loss, accuracy, applied, seconds, measured_on, examples_per_second, further)
        self.history = (*self.history, info)
        self._losses.clear()
        if self.observers.watch_epochs:
            self._apply(self.agreed(lambda: self.observers.epoch_end(self.run, info, self.history)))
        return info

    def log(self, epoch: EpochInfo) -> None:
        """Logs an epoch that the hooks have seen; raises TrainingError when the logs cannot be written."""
        self.logs.add_epoch(epoch)

    def position(self, step: int) -> Position:
        """Returns the position of the run after ``step`` updates, for a checkpoint."""
        pending = tuple((due, asked.factor, asked.stop) for due, asked in self._pending.items())
        losses = tuple(self._losses)
        return Position(step, self._factor, self.start.seed, self.history, losses, self.stopped, pending)

    def _show(self, infos: Sequence[StepInfo]) -> None:
        due = self._due(infos[0].step)
        # One factor after the other, so that the product has the same bits for any size of the portions.
        before = self._pending.get(due, Requests())
        asked = self.agreed(lambda: sum((self.observers.step(self.run, info) for info in infos), before))
        if asked != Requests():
            self._pending[due] = asked

    def _due(self, step: int) -> int:
        """Returns the step before which is applied what hooks ask for at ``step``."""
        size, length = self.chunk_steps, self.run.steps_per_epoch
        first = step - step % length
        return first + min(((step - first) // size + 2) * size, length)

    def _apply(self, requests: Requests) -> None:
        self._factor *= requests.factor
        self.stopped = self.stopped or requests.stop
