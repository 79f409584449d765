"""Polynomial decay, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from lrtrain import (
    Doc,
    Duration,
    LearningRate,
    Piece,
    PositiveFloat,
    Schedule,
    ScheduleContext,
    ScheduleError,
    Traits,
    hookimpl,
)


@dataclass(frozen=True)
class Polynomial:
    r"""From ``init_value`` to ``end_value`` by a power of the steps that remain; constant before and after.

    .. math::
        \eta_t = \text{end} + (\text{init} - \text{end})
        \left( 1 - \frac{\min(\max(t - B, 0), S)}{S} \right)^{\text{power}}

    B is ``transition_begin``, S is ``transition_steps``. With ``power`` 1 it is a straight line; under 1 it falls
    late, over 1 early. The end is reached at step B + S: with the defaults, the last step of the run is one short of
    ``end_value``. The default power is that of "poly" in DeepLab. At the end and after it the value is ``end_value``
    itself: `optax.polynomial_schedule`, compiled, gives NaN there for most S and a power under 1.

    Raises:
      ScheduleError: ``transition_steps`` is less than one step.

    Example:
      >>> import lrtrain
      >>> spec = "polynomial(init_value=1, power=2, transition_steps=50, transition_begin=20)"
      >>> rate = lrtrain.schedule(spec, total_steps=100)
      >>> [float(rate(step)) for step in (0, 20, 45, 70, 99)]
      [1.0, 1.0, 0.25, 0.0, 0.0]

    References: Chen et al., arXiv 1606.00915 ("poly"); `optax.polynomial_schedule`.
    """

    traits: ClassVar[Traits] = Traits(reaches_zero=True)

    init_value: Annotated[LearningRate, Doc("learning rate until transition_begin")] = 1e-4
    end_value: Annotated[LearningRate, Doc("learning rate from transition_begin + transition_steps on")] = 0.0
    power: Annotated[PositiveFloat, Doc("power of the share of steps that remain")] = 0.9
    transition_steps: Annotated[Duration, Doc("length of the transition")] = Duration("100%")
    transition_begin: Annotated[Duration, Doc("step at which the transition begins")] = Duration("0")

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule."""
        steps, begin = context.steps(self.transition_steps), context.steps(self.transition_begin)
        if steps < 1:
            raise ScheduleError(
                f"transition_steps={self.transition_steps} is 0 steps in a run of {context.total_steps}: "
                "give at least 1 step"
            )
        import optax

        curve = optax.polynomial_schedule(self.init_value, self.end_value, self.power, steps, begin)
        # Compiled, optax has a rounding error below 0 remain at the end, and a power of that is not a number.
        return optax.join_schedules([curve, optax.constant_schedule(self.end_value)], [begin + steps])

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        steps, begin = context.steps(self.transition_steps), context.steps(self.transition_begin)
        share = f"(({begin + steps} - t) / {steps}) ** power"
        return [
            Piece(begin, "init_value", self),
            Piece(begin + steps, f"end_value + (init_value - end_value) * {share}", self),
            Piece(None, "end_value", self),
        ]
