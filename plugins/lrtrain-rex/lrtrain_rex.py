"""REX, a decay that falls late, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from lrtrain import (
    Doc,
    Duration,
    LearningRate,
    Piece,
    Schedule,
    ScheduleContext,
    ScheduleError,
    Share,
    Traits,
    hookimpl,
)

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True)
class REX:
    r"""A decay that stays high and falls late: between a straight line (``beta=0``) and a constant (towards 1).

    .. math::
        \eta_t = \begin{cases}
          \text{init} + (\text{peak} - \text{init}) \, t / W & t < W \\
          \text{end} + (\text{peak} - \text{end}) \, \dfrac{1 - x}{(1 - \beta) + \beta (1 - x)} & t \ge W
        \end{cases}
        \qquad x = \min\left(\frac{t - W}{T - W}, 1\right)

    W is ``warmup_steps``, T the length of the run. The paper has ``beta=0.5`` and no warmup; other code that is called
    REX has 0.9, which is another curve. The last step of the run, T - 1, is one short of ``end_value``.

    Raises:
      ScheduleError: ``beta`` is 1, or the warmup leaves no step of the run.

    Example:
      >>> import lrtrain
      >>> rate = lrtrain.schedule("rex(peak_value=1)", total_steps=100)
      >>> [round(float(rate(step)), 5) for step in (0, 25, 50, 90, 99, 100)]
      [1.0, 0.85714, 0.66667, 0.18182, 0.0198, 0.0]

    Reference: Chen, Wolfe and Kyrillidis, arXiv 2107.04197.
    """

    traits: ClassVar[Traits] = Traits(reaches_zero=True)

    init_value: Annotated[LearningRate, Doc("learning rate at step 0, where there is a warmup")] = 0.0
    peak_value: Annotated[LearningRate, Doc("learning rate that the decay begins at")] = 3e-4
    end_value: Annotated[LearningRate, Doc("learning rate that the decay ends at, just after the last step")] = 0.0
    warmup_steps: Annotated[Duration, Doc("length of the warmup; 0: none")] = Duration("0")
    beta: Annotated[Share, Doc("how late the decay falls; 0: a straight line, under 1")] = 0.5

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule; the decay ends with the run."""
        warmup, total = context.steps(self.warmup_steps), context.total_steps
        if warmup >= total:
            raise ScheduleError(
                f"warmup_steps={self.warmup_steps} is {warmup} steps, and the run has {total}: leave a step to decay"
            )
        if self.beta == 1:
            raise ScheduleError("beta=1 never falls: give a beta under 1, as in 0.5")
        return self._schedule(warmup, total)

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        warmup, total = context.steps(self.warmup_steps), context.total_steps
        share = f"({total} - t) / ((1 - beta) * {total - warmup} + beta * ({total} - t))"
        return [
            Piece(warmup, f"init_value + (peak_value - init_value) * t / {warmup}", self),
            Piece(total, f"end_value + (peak_value - end_value) * {share}", self),
            Piece(None, "end_value", self),
        ]

    def _schedule(self, warmup: int, total: int) -> Schedule:
        import jax.numpy as jnp

        def schedule(count: jax.typing.ArrayLike) -> jax.Array:
            rising = self.init_value + (self.peak_value - self.init_value) * count / max(warmup, 1)
            left = jnp.clip((total - count) / (total - warmup), 0, 1)
            falling = self.end_value + (self.peak_value - self.end_value) * left / (1 - self.beta + self.beta * left)
            return jnp.where(count < warmup, rising, falling)

        return schedule
