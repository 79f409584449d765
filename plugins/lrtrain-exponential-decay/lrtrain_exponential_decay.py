"""Exponential decay, as a plugin of lrtrain."""

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
class ExponentialDecay:
    r"""One factor of ``decay_rate`` for every ``transition_steps`` steps, smoothly or in stairs.

    .. math:: \eta_t = \text{init} \cdot \text{rate}^{\max(t - B, 0) / S}

    B is ``transition_begin``. S is ``transition_steps``: the steps that one factor takes, not the length of the decay,
    which never ends. With the defaults one factor takes the whole run, which ends at a hundredth of ``init_value``.
    With ``staircase`` the exponent is rounded down, by integer division of the count: `optax.exponential_decay` divides
    in floats and, once compiled, drops one step late for some S, 235 among them. ``end_value`` is where the learning
    rate stops: a floor while it falls, a ceiling while it rises (``decay_rate`` over 1).

    Raises:
      ScheduleError: ``transition_steps`` is less than one step, or ``end_value`` lies on the wrong side of
        ``init_value``, so that the learning rate would jump to it at once.

    Example:
      >>> import lrtrain
      >>> spec = "exponential-decay(init_value=1, transition_steps=10, decay_rate=0.5, transition_begin=20)"
      >>> rate = lrtrain.schedule(spec, total_steps=100)
      >>> [round(float(rate(step)), 4) for step in (0, 20, 25, 30, 40)]
      [1.0, 1.0, 0.7071, 0.5, 0.25]

    Reference: `optax.exponential_decay`.
    """

    traits: ClassVar[Traits] = Traits()

    init_value: Annotated[LearningRate, Doc("learning rate until transition_begin")] = 1e-4
    transition_steps: Annotated[Duration, Doc("steps that one factor of decay_rate takes")] = Duration("100%")
    decay_rate: Annotated[PositiveFloat, Doc("factor for every transition_steps steps")] = 0.01
    transition_begin: Annotated[Duration, Doc("step at which the decay begins")] = Duration("0")
    staircase: Annotated[bool, Doc("whether the learning rate changes only once in transition_steps steps")] = False
    end_value: Annotated[LearningRate | None, Doc("learning rate at which the decay stops; none: never")] = None

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule."""
        steps, begin = context.steps(self.transition_steps), context.steps(self.transition_begin)
        if steps < 1:
            raise ScheduleError(
                f"transition_steps={self.transition_steps} is 0 steps in a run of {context.total_steps}: "
                "give at least 1 step"
            )
        self._check_end()
        import optax

        if not self.staircase:
            return optax.exponential_decay(self.init_value, steps, self.decay_rate, begin, end_value=self.end_value)
        stairs = optax.exponential_decay(self.init_value, 1, self.decay_rate, end_value=self.end_value)
        return lambda count: stairs((count - begin) // steps)

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        steps, begin = context.steps(self.transition_steps), context.steps(self.transition_begin)
        fall = f"init_value * decay_rate ** ((t - {begin}) {'//' if self.staircase else '/'} {steps})"
        if self.end_value is not None:
            fall = f"{'maximum' if self.decay_rate < 1 else 'minimum'}({fall}, end_value)"
        return [Piece(begin, "init_value", self), Piece(None, fall, self)]

    def _check_end(self) -> None:
        if self.end_value is None:
            return
        falls = self.decay_rate < 1
        if self.end_value > self.init_value if falls else self.end_value < self.init_value:
            raise ScheduleError(
                f"end_value={self.end_value} is {'over' if falls else 'under'} init_value={self.init_value}, and with "
                f"decay_rate={self.decay_rate} would hold from the first step on: "
                f"give at {'most' if falls else 'least'} {self.init_value}, or none"
            )
