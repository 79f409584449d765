"""The three hooks. This file is their documentation.

A plugin is a frozen dataclass whose methods carry ``@hookimpl``; an entry point in the group ``lrtrain.plugins`` names
it. Its docstring is its documentation and its fields are its options. pluggy passes a hook only the arguments that its
signature names, by name, so one that needs no ``run`` leaves it out; a default for an argument would never be used,
and is refused when the plugin is loaded.

In a distributed run every process builds the schedule; the two hooks that observe are called in the first process
only, and what they ask for acts in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from lrtrain.plugins.context import EpochInfo, RunInfo, ScaleLearningRate, Schedule, ScheduleContext, StepInfo, Stop

PROJECT = "lrtrain"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class HookDeprecationWarning(FutureWarning):
    """A plugin uses a hook, or an argument of one, that will go.

    Unlike a DeprecationWarning it is shown to whoever runs the plugin, since they are the ones who can upgrade it.
    """


def deprecated(what: str, *, since: str, until: str, instead: str) -> HookDeprecationWarning:
    """Returns the warning that a plugin gets for what is deprecated; pluggy shows it with the plugin's file and line.

    A hook or an argument stays in this file, and works, for as long as it is deprecated.

    Args:
      what: the hook, or an argument as ``run of on_step``.
      since: the version of lrtrain that deprecates it.
      until: the version that takes it away.
      instead: what replaces it.

    Example:
      ```python
      @hookspec(warn_on_impl=deprecated("on_batch", since="0.2", until="0.4", instead="on_step"))
      def on_batch(run: RunInfo, batch: int) -> None: ...


      @hookspec(warn_on_impl_args={"run": deprecated("run of on_step", since="0.2", until="0.4", instead="step.run")})
      def on_step(run: RunInfo, step: StepInfo) -> None: ...
      ```
    """
    return HookDeprecationWarning(
        f"{what} is deprecated since lrtrain {since} and goes with lrtrain {until}: use {instead}"
    )


@hookspec
def build_schedule(context: ScheduleContext) -> Schedule:  # type: ignore[empty-body]
    """Builds the learning-rate schedule of the run.

    When: once, before training; again when a run is resumed, and whenever a schedule is plotted or exported.

    Args:
      context: the run's length; ``context.steps("25%")`` turns a duration into steps, ``context.build("linear")``
        builds another plugin's schedule.

    Returns:
      A callable from the step (0-based count of optimizer updates) to the learning rate, as in optax: finite and not
      negative at every step of the run. It may be plain Python; the trainer evaluates it once for every step.

    Order: exactly one active plugin answers; none or two is an error that names them.

    Example:
      ```python
      from dataclasses import dataclass
      from typing import Annotated

      from lrtrain import Doc, LearningRate, Schedule, ScheduleContext, hookimpl


      @dataclass(frozen=True)
      class Halving:
          '''Halves the learning rate after each epoch.'''

          init_value: Annotated[LearningRate, Doc("learning rate of the first epoch")] = 1e-4

          @hookimpl
          def build_schedule(self, context: ScheduleContext) -> Schedule:
              return lambda step: self.init_value * 0.5 ** (step // context.steps_per_epoch)
      ```
    """


@hookspec
def on_step(run: RunInfo, step: StepInfo) -> Stop | ScaleLearningRate | None:
    """Sees every optimizer update.

    When: on the host, in order, one call for each update, after the device has run a chunk of them; the next chunk is
      already running meanwhile, so a hook does not hold up training unless it takes longer than the chunk.

    Args:
      run: the run, its directory and its configuration.
      step: the update: its number, epoch, the learning rate applied, and the loss.

    Returns:
      None, or a request: ``Stop(reason)`` or ``ScaleLearningRate(factor)``. A request acts at the next chunk boundary
      that has not been sent to the device yet, not at the very next step.

    Order: plugins in the order of the command line. Several factors multiply; the first reason to stop is kept.

    Example:
      ```python
      from dataclasses import dataclass

      from lrtrain import StepInfo, Stop, hookimpl


      @dataclass(frozen=True)
      class StopOnHugeLoss:
          '''Stops a run whose loss is over 100.'''

          @hookimpl
          def on_step(self, step: StepInfo) -> Stop | None:
              return Stop(f"loss {step.loss:.0f} at step {step.step}") if step.loss > 100 else None
      ```
    """


@hookspec
def on_epoch_end(run: RunInfo, epoch: EpochInfo, history: Sequence[EpochInfo]) -> Stop | ScaleLearningRate | None:
    """Sees every epoch with its evaluation.

    When: on the host, after an epoch's evaluation and before its checkpoint, so that what it asks for is saved with it.

    Args:
      run: the run, its directory and its configuration.
      epoch: the epoch that has just ended.
      history: all epochs so far, this one last, those before a resume included. A rule that is a pure function of
        it needs no state of its own and is exact after a resume.

    Returns:
      None, or a request that acts from the next epoch on: ``Stop(reason)`` or ``ScaleLearningRate(factor)``.

    Order: plugins in the order of the command line. Several factors multiply; the first reason to stop is kept.

    Example:
      ```python
      from collections.abc import Sequence
      from dataclasses import dataclass

      from lrtrain import EpochInfo, ScaleLearningRate, hookimpl


      @dataclass(frozen=True)
      class HalveWhenWorse:
          '''Halves the learning rate when the test loss has risen.'''

          @hookimpl
          def on_epoch_end(self, history: Sequence[EpochInfo]) -> ScaleLearningRate | None:
              worse = len(history) > 1 and history[-1].test_loss > history[-2].test_loss
              return ScaleLearningRate(0.5) if worse else None
      ```
    """
