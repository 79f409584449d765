"""Linear warmup, then decay with the inverse square root of the step, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from lrtrain import Doc, Duration, LearningRate, Piece, Schedule, ScheduleContext, ScheduleError, Traits, hookimpl

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True)
class InverseSqrt:
    r"""Linear warmup, then decay with the inverse square root of the step; at the end, if asked for, a line to 0.

    .. math::
        \eta_t = \begin{cases}
          \text{init} + (\text{peak} - \text{init}) \, t / W & t < W \\
          \text{peak} \, / \sqrt{1 + (t - W) / \tau} \cdot \min(1, (T - t) / C) & t \ge W
        \end{cases}

    W is ``warmup_steps``, :math:`\tau` is ``timescale``, C is ``cooldown_steps``, T the length of the run. Without a
    cooldown the curve does not depend on where the run ends. After ``timescale`` steps of decay the learning rate is
    0.71 of the peak, after three times as many steps 0.5. With ``init_value=0`` and a warmup, step 0 is an update that
    changes nothing.

    Raises:
      ScheduleError: ``timescale`` is less than one step, or warmup and cooldown together are longer than the run.

    Example:
      >>> import lrtrain
      >>> rate = lrtrain.schedule("inverse-sqrt(peak_value=1, warmup_steps=10)", total_steps=100)
      >>> [round(float(rate(step)), 5) for step in (0, 5, 10, 25, 50, 99)]
      [0.0, 0.5, 1.0, 0.63246, 0.44721, 0.31782]

    References: Zhai et al., arXiv 2106.04560 (with cooldown); `transformers.get_inverse_sqrt_schedule` (without).
    """

    traits: ClassVar[Traits] = Traits(reaches_zero=True, may_rise=True)

    init_value: Annotated[LearningRate, Doc("learning rate at step 0")] = 0.0
    peak_value: Annotated[LearningRate, Doc("learning rate after the warmup")] = 3e-4
    warmup_steps: Annotated[Duration, Doc("length of the warmup; 0: none")] = Duration("10%")
    timescale: Annotated[
        Duration | None, Doc("steps that the decay is measured in; none: the warmup's length, or 10000 without one")
    ] = None
    cooldown_steps: Annotated[Duration, Doc("length of the line to 0, at the end of the run; 0: none")] = Duration("0")

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule; a cooldown ends with the run."""
        warmup, cooldown, total = self._warmup(context), context.steps(self.cooldown_steps), context.total_steps
        timescale = self._timescale(context)
        if timescale < 1:
            raise ScheduleError(f"timescale={self.timescale} is 0 steps in a run of {total}: give at least 1 step")
        if warmup + cooldown > total:
            raise ScheduleError(
                f"warmup_steps={self.warmup_steps} and cooldown_steps={self.cooldown_steps} are {warmup + cooldown} "
                f"steps together, and the run has {total}: make one of them shorter"
            )
        return self._schedule(warmup, timescale, cooldown, total)

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        total = context.total_steps
        warmup, cooldown = self._warmup(context), context.steps(self.cooldown_steps)
        rise = Piece(warmup, f"init_value + (peak_value - init_value) * t / {warmup}", self)
        fall = f"peak_value * sqrt({self._timescale(context)} / (t - {warmup} + {self._timescale(context)}))"
        if cooldown == 0:
            return [rise, Piece(None, fall, self)]
        ends = [Piece(total, f"{fall} * ({total} - t) / {cooldown}", self), Piece(None, "0")]
        return [rise, Piece(total - cooldown, fall, self), *ends]

    def _warmup(self, context: ScheduleContext) -> int:
        return context.steps(self.warmup_steps)

    def _timescale(self, context: ScheduleContext) -> int:
        return (self._warmup(context) or 10_000) if self.timescale is None else context.steps(self.timescale)

    def _schedule(self, warmup: int, timescale: int, cooldown: int, total: int) -> Schedule:
        import jax.numpy as jnp

        def schedule(count: jax.typing.ArrayLike) -> jax.Array:
            rising = self.init_value + (self.peak_value - self.init_value) * count / max(warmup, 1)
            falling = self.peak_value / jnp.sqrt(1 + jnp.maximum(count - warmup, 0) / timescale)
            if cooldown:
                falling = falling * jnp.clip((total - count) / cooldown, 0, 1)
            return jnp.where(count < warmup, rising, falling)

        return schedule
