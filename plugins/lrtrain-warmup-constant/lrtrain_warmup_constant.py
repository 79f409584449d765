"""Linear warmup, then constant, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from lrtrain import Doc, Duration, LearningRate, Piece, Schedule, ScheduleContext, Traits, hookimpl


@dataclass(frozen=True)
class WarmupConstant:
    r"""Linear warmup from ``init_value`` to ``peak_value``, then constant.

    .. math:: \eta_t = \text{init} + (\text{peak} - \text{init}) \, \min(t / W, 1)

    W is ``warmup_steps``. A warmup of 0 steps is no warmup: the learning rate is ``peak_value`` from step 0 on
    (`optax.warmup_constant_schedule` stays at ``init_value`` for ever, and with 0 there never trains). With
    ``init_value=0`` and a warmup, step 0 is an update that changes nothing. A warmup longer than the run is cut off by
    the end of the run.

    Example:
      >>> import lrtrain
      >>> rate = lrtrain.schedule("warmup-constant(peak_value=1, warmup_steps=10)", total_steps=100)
      >>> [float(rate(step)) for step in (0, 5, 10, 99)]
      [0.0, 0.5, 1.0, 1.0]

    Reference: `optax.warmup_constant_schedule`.
    """

    traits: ClassVar[Traits] = Traits(reaches_zero=True, may_rise=True)

    init_value: Annotated[LearningRate, Doc("learning rate at step 0")] = 0.0
    peak_value: Annotated[LearningRate, Doc("learning rate after the warmup")] = 3e-4
    warmup_steps: Annotated[Duration, Doc("length of the warmup; 0: none")] = Duration("10%")

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule."""
        warmup = context.steps(self.warmup_steps)
        import optax

        constant = optax.constant_schedule(self.peak_value)
        if warmup == 0:
            return constant
        # Compiled, optax's warmup ends a rounding error beyond peak_value.
        rising = optax.warmup_constant_schedule(self.init_value, self.peak_value, warmup)
        return optax.join_schedules([rising, constant], [warmup])

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        warmup = context.steps(self.warmup_steps)
        rise = Piece(warmup, f"init_value + (peak_value - init_value) * t / {warmup}", self)
        return [rise, Piece(None, "peak_value", self)]
