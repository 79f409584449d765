"""A straight line between two learning rates, as a plugin of lrtrain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from lrtrain import Doc, Duration, LearningRate, Schedule, ScheduleContext, ScheduleError, Traits, hookimpl


@dataclass(frozen=True)
class Linear:
    r"""A straight line from ``init_value`` to ``end_value``; constant before and after it.

    .. math:: \eta_t = \text{init} + (\text{end} - \text{init}) \, \min(\max(t - B, 0), S) / S

    B is ``transition_begin``, S is ``transition_steps``. The end is reached at step B + S, so with the defaults, where
    B is a quarter of the run and S is all of it, the run ends three quarters of the way down. For a line that ends with
    the run give ``transition_begin=0`` or ``transition_steps=75%``; even then the last step of the run is one short of
    ``end_value``.

    Raises:
      ScheduleError: ``transition_steps`` comes to no step at all.

    Example:
      >>> import lrtrain
      >>> spec = "linear(init_value=1, end_value=0, transition_steps=50, transition_begin=20)"
      >>> rate = lrtrain.schedule(spec, total_steps=100)
      >>> [float(rate(step)) for step in (0, 20, 45, 70, 99)]
      [1.0, 1.0, 0.5, 0.0, 0.0]

    Reference: `optax.linear_schedule`.
    """

    traits: ClassVar[Traits] = Traits()

    init_value: Annotated[LearningRate, Doc("learning rate until transition_begin")] = 1e-4
    end_value: Annotated[LearningRate, Doc("learning rate from transition_begin + transition_steps on")] = 1e-5
    transition_steps: Annotated[Duration, Doc("length of the line")] = Duration("100%")
    transition_begin: Annotated[Duration, Doc("step at which the line begins")] = Duration("25%")

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

        line = optax.linear_schedule(self.init_value, self.end_value, steps, begin)
        # Compiled, optax's line ends a rounding error beyond end_value, which is below 0 where end_value is 0.
        return optax.join_schedules([line, optax.constant_schedule(self.end_value)], [begin + steps])
