"""Linear warmup, then half a cosine, as a plugin of lrtrain."""

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
class WarmupCosineDecay:
    r"""Linear warmup from ``init_value`` to ``peak_value``, then half a cosine to ``end_value``.

    .. math::
        \eta_t = \begin{cases}
          \text{init} + (\text{peak} - \text{init}) \, t / W & t < W \\
          \text{end} + (\text{peak} - \text{end})
          \left[ \tfrac{1}{2} (1 + \cos(\pi \, \min(t - W, S - W) / (S - W))) \right]^{\text{exponent}} & t \ge W
        \end{cases}

    W is ``warmup_steps``, S is ``decay_steps``, which includes the warmup, as in optax: the cosine is S - W steps long.
    The end is reached at step S: with the default, the last step of the run, S - 1, is one short of it. A warmup of 0
    steps is no warmup: step 0 has ``peak_value``. With ``init_value=0`` and a warmup, step 0 is an update that changes
    nothing.

    Raises:
      ScheduleError: ``decay_steps`` leaves no step after the warmup, or ``peak_value`` is 0 and ``end_value`` is not
        (optax would fall to 0 instead).

    Example:
      >>> import lrtrain
      >>> rate = lrtrain.schedule("warmup-cosine-decay(peak_value=1, warmup_steps=20)", total_steps=100)
      >>> [round(float(rate(step)), 4) for step in (0, 10, 20, 60, 100)]
      [0.0, 0.5, 1.0, 0.5, 0.0]

    References: Loshchilov and Hutter, arXiv 1608.03983; `optax.warmup_cosine_decay_schedule`.
    """

    traits: ClassVar[Traits] = Traits(reaches_zero=True, may_rise=True)

    init_value: Annotated[LearningRate, Doc("learning rate at step 0")] = 0.0
    peak_value: Annotated[LearningRate, Doc("learning rate after the warmup")] = 3e-4
    warmup_steps: Annotated[Duration, Doc("length of the warmup; 0: none")] = Duration("10%")
    decay_steps: Annotated[Duration, Doc("length of warmup and decay together")] = Duration("100%")
    end_value: Annotated[LearningRate, Doc("learning rate from decay_steps on")] = 0.0
    exponent: Annotated[PositiveFloat, Doc("power that the half cosine, 1 to 0, is raised to")] = 1.0

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule."""
        warmup, steps = context.steps(self.warmup_steps), context.steps(self.decay_steps)
        if steps <= warmup:
            raise ScheduleError(
                f"decay_steps={self.decay_steps} is {steps} steps, of which warmup_steps={self.warmup_steps} takes "
                f"{warmup}: it includes the warmup, so give more than {warmup}"
            )
        if self.peak_value == 0 and self.end_value > 0:
            raise ScheduleError(
                f"peak_value={self.peak_value} is 0 and end_value={self.end_value} is not: give a peak_value over 0"
            )
        import optax

        if warmup == 0:
            alpha = self.end_value / self.peak_value if self.peak_value else 0.0
            return optax.cosine_decay_schedule(self.peak_value, steps, alpha, self.exponent)
        return optax.warmup_cosine_decay_schedule(
            self.init_value, self.peak_value, warmup, steps, self.end_value, self.exponent
        )

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        warmup, steps = context.steps(self.warmup_steps), context.steps(self.decay_steps)
        # cos(x / 2) ** 2 is (1 + cos(x)) / 2, and keeps its digits near the end, where a power needs them.
        fall = f"cos(pi * (t - {warmup}) / {2 * (steps - warmup)}) ** {2 * self.exponent}"
        return [
            Piece(warmup, f"init_value + (peak_value - init_value) * t / {warmup}", self),
            Piece(steps, f"end_value + (peak_value - end_value) * {fall}", self),
            Piece(None, "end_value", self),
        ]
