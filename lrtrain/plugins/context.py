"""The arguments and the answers of hooks, and what a plugin declares of its schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from lrtrain.errors import ScheduleError
from lrtrain.plugins.duration import Duration
from lrtrain.plugins.spec import Spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lrtrain.plugins.formula import Piece

Schedule: TypeAlias = Callable[[Any], Any]
"""A schedule as optax has it: a callable from the step (a count of optimizer updates, from 0) to a learning rate."""

MeasuredOn: TypeAlias = Literal["test", "validation"]

_BY_HAND = "this context cannot build other schedules: it was made by hand, not by lrtrain"


@dataclass(frozen=True)
class ScheduleContext:
    """The run that a schedule is built for.

    Args:
      total_steps: optimizer updates in the whole run; the schedule is applied at steps 0 to ``total_steps - 1``.
      steps_per_epoch: optimizer updates in an epoch.
      epochs: epochs in the run.
    """

    total_steps: int
    steps_per_epoch: int
    epochs: int
    _builder: Callable[[Spec, ScheduleContext], Schedule] | None = field(default=None, repr=False, compare=False)
    _epochs_known: bool = field(default=True, repr=False, compare=False)
    _formulas: Callable[[Spec, ScheduleContext], tuple[Piece, ...] | None] | None = field(
        default=None, repr=False, compare=False
    )
    _factor: float = field(default=1.0, repr=False, compare=False)

    def steps(self, duration: Duration | str | int) -> int:
        """Returns a duration in optimizer updates: exact arithmetic, then rounded down.

        Raises:
          SpecError: ``duration`` is text that is no duration.
          ScheduleError: it counts epochs, and the length of an epoch is not known.

        Example:
          >>> ScheduleContext(total_steps=2350, steps_per_epoch=235, epochs=10).steps("25%")
          587
        """
        duration = duration if isinstance(duration, Duration) else Duration(duration)
        if duration.unit == "ep" and not self._epochs_known:
            raise ScheduleError(
                f"{duration} counts epochs, and the length of an epoch is not known: "
                "give the number of epochs with its steps"
            )
        return duration.steps(self.total_steps, self.steps_per_epoch)

    def build(self, spec: Spec | str | Mapping[str, Any], total_steps: int | None = None) -> Schedule:
        """Builds another plugin's schedule, for a run of ``total_steps`` (default: of this run's length).

        The result takes any integer count, as does every schedule that lrtrain returns.

        Raises:
          PluginError: the plugin cannot be found or loaded.
          OptionError: one of its options is refused.
          ScheduleError: it cannot be built for a run of this length.
        """
        if self._builder is None:
            raise ScheduleError(_BY_HAND)
        return self._builder(Spec.of(spec), self._part(total_steps))

    def formula(self, spec: Spec | str | Mapping[str, Any], total_steps: int | None = None) -> tuple[Piece, ...] | None:
        """Returns the formula of another plugin's schedule, for a run of ``total_steps``; None where it has none.

        Raises:
          PluginError: the plugin cannot be found or loaded, or its formula cannot be used.
          OptionError: one of its options is refused.
        """
        if self._formulas is None:
            raise ScheduleError(_BY_HAND)
        return self._formulas(Spec.of(spec), self._part(total_steps))

    def _part(self, total_steps: int | None) -> ScheduleContext:
        """Returns the context of a schedule for ``total_steps`` steps of this run."""
        total = self.total_steps if total_steps is None else total_steps
        if total < 1:
            raise ScheduleError(f"a schedule of {total} steps was asked for: it needs at least 1")
        return replace(self, total_steps=total, epochs=-(-total // self.steps_per_epoch))


@dataclass(frozen=True)
class StepInfo:
    """One completed optimizer update.

    Args:
      step: the update, counted from 0 over the whole run.
      epoch: the epoch it belongs to, from 0.
      learning_rate: the learning rate that was applied.
      loss: loss of the batch before the update, mean per example.
    """

    step: int
    epoch: int
    learning_rate: float
    loss: float


@dataclass(frozen=True)
class EpochInfo:
    """One completed and evaluated epoch; `lrtrain.runs.Epoch` is another name of it.

    Args:
      epoch: the epoch, from 0.
      step: updates done since the run began.
      train_loss: loss over the epoch's training examples, mean per example, as seen while training.
      test_loss: loss over the examples of ``measured_on`` after the epoch, mean per example.
      test_accuracy: share of them that is classified correctly, 0 to 1; NaN where the workload has no such metric.
      learning_rate: the learning rate of the epoch's last update.
      seconds: time for training and evaluating the epoch.
      measured_on: ``"test"``: the test set; ``"validation"``: the examples that a comparison holds out.
      examples_per_second: training examples in a second, without the evaluation; NaN after a resume, because a
        checkpoint does not hold it.
      metrics: the workload's other metrics over the same examples, by name; each is an attribute ``test_<name>`` too.
    """

    epoch: int
    step: int
    train_loss: float
    test_loss: float
    test_accuracy: float
    learning_rate: float
    seconds: float
    measured_on: MeasuredOn = "test"
    examples_per_second: float = math.nan
    metrics: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Makes the metrics attributes: a plugin has the name of what it watches as an option."""
        for name, value in self.metrics.items():
            object.__setattr__(self, f"test_{name}", value)

    @property
    def means(self) -> dict[str, float]:
        """The loss and all metrics after the epoch, by name."""
        accuracy = {} if math.isnan(self.test_accuracy) else {"accuracy": self.test_accuracy}
        return {"loss": self.test_loss, **accuracy, **self.metrics}

    def value(self, name: str) -> float:
        """Returns the loss or a metric after the epoch by its name; NaN where the workload has none of that name."""
        return self.means.get(name, math.nan)

    @property
    def loss(self) -> float:
        """``test_loss``, under a name that is right for validation too."""
        return self.test_loss

    @property
    def accuracy(self) -> float:
        """``test_accuracy``, under a name that is right for validation too."""
        return self.test_accuracy


@dataclass(frozen=True)
class RunInfo:
    """The run that a hook observes.

    Args:
      directory: the run's directory; a plugin that writes files makes a directory of its own name in it.
      config: everything that determines the run, as in ``config.json``.
      total_steps: optimizer updates in the whole run.
      steps_per_epoch: optimizer updates in an epoch.
      epochs: epochs in the run.
      learning_rates: the schedule's table, float32[total_steps].
    """

    directory: Path
    config: Mapping[str, Any]
    total_steps: int
    steps_per_epoch: int
    epochs: int
    learning_rates: NDArray[np.float32]


@dataclass(frozen=True)
class Stop:
    """Answer of a hook: end the run here, with a checkpoint, for this reason."""

    reason: str


@dataclass(frozen=True)
class ScaleLearningRate:
    """Answer of a hook: multiply the learning rate of all later steps by ``factor`` (finite, not negative)."""

    factor: float


@dataclass(frozen=True)
class Traits:
    """What is true of a schedule with its default options.

    A plugin declares them in its class: ``traits: ClassVar[Traits] = Traits(reaches_zero=True, min_steps=4)``.
    `lrtrain.testing` checks that they hold.

    Args:
      reaches_zero: whether the learning rate is 0 at some step from 0 to the end of the run, the step right after the
        last one included.
      may_rise: whether a learning rate may be higher than the one before it.
      min_steps: the shortest run, in steps, that the schedule can be built for; a shorter one raises ScheduleError.

    Example:
      >>> Traits(may_rise=True)
      Traits(reaches_zero=False, may_rise=True, min_steps=1)
    """

    reaches_zero: bool = False
    may_rise: bool = False
    min_steps: int = 1
