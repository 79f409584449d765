"""Cosine decay, as a plugin of lrtrain."""

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
    Share,
    Traits,
    hookimpl,
)


@dataclass(frozen=True)
class CosineDecay:
    r"""Half a cosine from ``init_value`` down to the share ``alpha`` of it.

    .. math::
        \eta_t = \text{init} \left( \alpha + (1 - \alpha)
        \left[ \tfrac{1}{2} (1 + \cos(\pi \min(t, S) / S)) \right]^{\text{exponent}} \right)

    S is ``decay_steps``. There is no warmup in it (`warmup-cosine-decay` has one). ``alpha`` is a share of
    ``init_value``, not a learning rate. The end is reached at step S: with the default, the last step of the run,
    S - 1, is one short of it. A decay longer than the run is cut off by the end of the run; after a shorter one the
    learning rate stays.

    Raises:
      ScheduleError: ``decay_steps`` is less than one step.

    Example:
      >>> import lrtrain
      >>> rate = lrtrain.schedule("cosine-decay(init_value=1)", total_steps=100)
      >>> [round(float(rate(step)), 4) for step in (0, 25, 50, 99, 100)]
      [1.0, 0.8536, 0.5, 0.0002, 0.0]

    References: Loshchilov and Hutter, arXiv 1608.03983; `optax.cosine_decay_schedule`.
    """

    traits: ClassVar[Traits] = Traits(reaches_zero=True)

    init_value: Annotated[LearningRate, Doc("learning rate at step 0")] = 1e-4
    decay_steps: Annotated[Duration, Doc("length of the decay")] = Duration("100%")
    alpha: Annotated[Share, Doc("share of init_value that is left at the end")] = 0.0
    exponent: Annotated[PositiveFloat, Doc("power that the half cosine, 1 to 0, is raised to")] = 1.0

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule."""
        steps = context.steps(self.decay_steps)
        if steps < 1:
            raise ScheduleError(
                f"decay_steps={self.decay_steps} is 0 steps in a run of {context.total_steps}: give at least 1 step"
            )
        import optax

        return optax.cosine_decay_schedule(self.init_value, steps, self.alpha, self.exponent)

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        steps = context.steps(self.decay_steps)
        # cos(x / 2) ** 2 is (1 + cos(x)) / 2, and keeps its digits near the end, where a power needs them.
        fall = f"cos(pi * t / {2 * steps}) ** {2 * self.exponent}"
        decay = Piece(steps, f"init_value * (alpha + (1 - alpha) * {fall})", self)
        return [decay, Piece(None, "init_value * alpha", self)]
