"""Linear warmup, then exponential decay, as a plugin of lrtrain."""

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
class WarmupExponentialDecay:
    r"""Linear warmup from ``init_value`` to ``peak_value``, then a factor for every ``transition_steps`` steps.

    .. math::
        \eta_t = \begin{cases}
          \text{init} + (\text{peak} - \text{init}) \, t / W & t < W \\
          \text{peak} \cdot \text{rate}^{\max(t - W - B, 0) / S} & t \ge W
        \end{cases}

    W is ``warmup_steps``. B is ``transition_begin``, which counts from the end of the warmup. S is
    ``transition_steps``: the steps that one factor of ``decay_rate`` takes, the warmup not included; it is not the
    length of the decay, which never ends. With the defaults the warmup takes a tenth of the run and one factor the
    rest, so the run ends at a hundredth of the peak. With ``staircase`` the exponent is rounded down, by integer
    division of the count: optax divides in floats and, once compiled, drops one step late for some S, 235 among them.
    ``end_value`` is where the learning rate stops: a floor while it falls, a ceiling while it rises (``decay_rate``
    over 1). A warmup of 0 steps is no warmup: step 0 has ``peak_value``. With ``init_value=0`` and a warmup, step 0 is
    an update that changes nothing.

    Raises:
      ScheduleError: ``transition_steps`` is less than one step, or ``end_value`` lies on the wrong side of
        ``peak_value``, so that the learning rate would jump to it right after the warmup.

    Example:
      >>> import lrtrain
      >>> times = "warmup_steps=10, transition_begin=5, transition_steps=20"
      >>> spec = f"warmup-exponential-decay(peak_value=1, decay_rate=0.5, {times})"
      >>> rate = lrtrain.schedule(spec, total_steps=100)
      >>> [round(float(rate(step)), 4) for step in (0, 5, 10, 15, 35, 55)]
      [0.0, 0.5, 1.0, 1.0, 0.5, 0.25]

    Reference: `optax.warmup_exponential_decay_schedule`.
    """

    traits: ClassVar[Traits] = Traits(reaches_zero=True, may_rise=True, min_steps=2)

    init_value: Annotated[LearningRate, Doc("learning rate at step 0")] = 0.0
    peak_value: Annotated[LearningRate, Doc("learning rate after the warmup")] = 3e-4
    warmup_steps: Annotated[Duration, Doc("length of the warmup; 0: none")] = Duration("10%")
    transition_steps: Annotated[Duration, Doc("steps that one factor of decay_rate takes")] = Duration("90%")
    decay_rate: Annotated[PositiveFloat, Doc("factor for every transition_steps steps")] = 0.01
    transition_begin: Annotated[Duration, Doc("steps between the end of the warmup and the decay")] = Duration("0")
    staircase: Annotated[bool, Doc("whether the learning rate decays only once in transition_steps steps")] = False
    end_value: Annotated[LearningRate | None, Doc("learning rate at which the decay stops; none: never")] = None

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule."""
        warmup = context.steps(self.warmup_steps)
        steps, begin = context.steps(self.transition_steps), context.steps(self.transition_begin)
        if steps < 1:
            raise ScheduleError(
                f"transition_steps={self.transition_steps} is 0 steps in a run of {context.total_steps}: "
                "give at least 1 step"
            )
        self._check_end()
        import optax

        decay = self._decay(steps, begin)
        if warmup == 0:
            return decay
        return optax.join_schedules([optax.linear_schedule(self.init_value, self.peak_value, warmup), decay], [warmup])

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        warmup, steps = context.steps(self.warmup_steps), context.steps(self.transition_steps)
        begin = warmup + context.steps(self.transition_begin)
        fall = f"peak_value * decay_rate ** ((t - {begin}) {'//' if self.staircase else '/'} {steps})"
        if self.end_value is not None:
            fall = f"{'maximum' if self.decay_rate < 1 else 'minimum'}({fall}, end_value)"
        return [
            Piece(warmup, f"init_value + (peak_value - init_value) * t / {warmup}", self),
            Piece(begin, "peak_value", self),
            Piece(None, fall, self),
        ]

    def _decay(self, steps: int, begin: int) -> Schedule:
        import optax

        if not self.staircase:
            return optax.exponential_decay(self.peak_value, steps, self.decay_rate, begin, end_value=self.end_value)
        stairs = optax.exponential_decay(self.peak_value, 1, self.decay_rate, end_value=self.end_value)
        return lambda count: stairs((count - begin) // steps)

    def _check_end(self) -> None:
        if self.end_value is None:
            return
        falls = self.decay_rate < 1
        if self.end_value > self.peak_value if falls else self.end_value < self.peak_value:
            raise ScheduleError(
                f"end_value={self.end_value} is {'over' if falls else 'under'} peak_value={self.peak_value}, and with "
                f"decay_rate={self.decay_rate} would hold from the end of the warmup on: "
                f"give at {'most' if falls else 'least'} {self.peak_value}, or none"
            )
