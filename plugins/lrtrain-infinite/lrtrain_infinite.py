"""The infinite learning rate, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Annotated, ClassVar

from lrtrain import (
    Doc,
    Duration,
    LearningRate,
    Piece,
    PositiveLearningRate,
    Schedule,
    ScheduleContext,
    ScheduleError,
    Traits,
    hookimpl,
)

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True)
class Infinite:
    r"""Linear warmup, half a cosine to a constant, the constant for any length, and an exponential decay.

    .. math::
        \eta_t = \begin{cases}
          \text{init} + (\text{peak} - \text{init}) \, t / W & t < W \\
          \text{const} + (\text{peak} - \text{const}) \, \tfrac{1}{2} (1 + \cos(\pi (t - W) / C)) & W \le t < W + C \\
          \text{const} & W + C \le t \le T - A \\
          \text{const} \cdot (\text{end} / \text{const})^{(t - (T - A)) / A} & T - A < t
        \end{cases}

    W is ``warmup_steps``, C is ``cooldown_steps``, A is ``annealing_steps``, T the length of the run. The constant
    phase can be made longer at any time, also with new data: only the annealing depends on where the run ends. The last
    step of the run, T - 1, is one short of ``end_value``. With ``init_value=0`` and a warmup, step 0 is an update that
    changes nothing.

    Raises:
      ScheduleError: warmup, cooldown and annealing together are longer than the run.

    Example:
      >>> import lrtrain
      >>> spec = "infinite(peak_value=1, constant_value=0.5, end_value=0.05, warmup_steps=10, cooldown_steps=40)"
      >>> rate = lrtrain.schedule(spec, total_steps=100)
      >>> [round(float(rate(step)), 5) for step in (0, 5, 10, 30, 50, 85, 100)]
      [0.0, 0.5, 1.0, 0.75, 0.5, 0.5, 0.05]

    References: Ibrahim et al., arXiv 2403.08763; Singh et al., arXiv 2503.02844.
    """

    traits: ClassVar[Traits] = Traits(reaches_zero=True, may_rise=True)

    init_value: Annotated[LearningRate, Doc("learning rate at step 0")] = 0.0
    peak_value: Annotated[LearningRate, Doc("learning rate after the warmup")] = 3e-4
    constant_value: Annotated[PositiveLearningRate, Doc("learning rate of the constant phase")] = 1.5e-4
    end_value: Annotated[PositiveLearningRate, Doc("learning rate that the run ends at, just after the last step")] = (
        1.5e-5
    )
    warmup_steps: Annotated[Duration, Doc("length of the warmup; 0: none")] = Duration("10%")
    cooldown_steps: Annotated[Duration, Doc("length of the cosine from peak to constant")] = Duration("30%")
    annealing_steps: Annotated[Duration, Doc("length of the decay, at the end of the run")] = Duration("15%")

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule; the annealing ends with the run."""
        warmup, cooldown, annealing = self._phases(context)
        together, total = warmup + cooldown + annealing, context.total_steps
        if together > total:
            raise ScheduleError(
                f"warmup_steps={self.warmup_steps}, cooldown_steps={self.cooldown_steps} and "
                f"annealing_steps={self.annealing_steps} are {together} steps together, and the run has {total}: "
                "make one of them shorter"
            )
        return self._schedule(warmup, cooldown, annealing, total)

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        warmup, cooldown, annealing = self._phases(context)
        begin = context.total_steps - annealing
        half = f"(1 + cos(pi * (t - {warmup}) / {cooldown})) / 2"
        pieces = [
            Piece(warmup, f"init_value + (peak_value - init_value) * t / {warmup}", self),
            Piece(warmup + cooldown, f"constant_value + (peak_value - constant_value) * {half}", self),
        ]
        if annealing == 0:
            return [*pieces, Piece(None, "constant_value", self)]
        fall = f"exp(log(constant_value) + (log(end_value) - log(constant_value)) * (t - {begin}) / {annealing})"
        return [
            *pieces,
            Piece(begin, "constant_value", self),
            Piece(begin + annealing, fall, self),
            Piece(None, "end_value", self),
        ]

    def _phases(self, context: ScheduleContext) -> tuple[int, int, int]:
        return context.steps(self.warmup_steps), context.steps(self.cooldown_steps), context.steps(self.annealing_steps)

    def _schedule(self, warmup: int, cooldown: int, annealing: int, total: int) -> Schedule:
        import jax.numpy as jnp

        init, peak, constant = self.init_value, self.peak_value, self.constant_value
        ratio = log(self.end_value) - log(constant)

        def schedule(count: jax.typing.ArrayLike) -> jax.Array:
            rising = init + (peak - init) * count / max(warmup, 1)
            passed = jnp.clip((count - warmup) / max(cooldown, 1), 0, 1) if cooldown else 1
            cooling = constant + (peak - constant) * (1 + jnp.cos(jnp.pi * passed)) / 2
            annealed = jnp.clip((count - (total - annealing)) / max(annealing, 1), 0, 1)
            falling = cooling * jnp.exp(ratio * annealed) if annealing else cooling
            return jnp.where(count < warmup, rising, falling)

        return schedule
