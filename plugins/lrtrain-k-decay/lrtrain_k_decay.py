"""`k-decay`, a decay that begins late, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

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

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True)
class KDecay:
    r"""A cosine or polynomial decay over the k-th power of time: the greater ``k``, the later it falls.

    .. math::
        \eta_t = \text{end} + (\text{init} - \text{end}) \begin{cases}
          \tfrac{1}{2} (1 + \cos(\pi x)) & \text{cosine} \\
          (1 - x)^{\text{power}} & \text{polynomial}
        \end{cases}
        \qquad x = \left(\min(t, S) / S\right)^k

    S is ``decay_steps``. With ``k=1`` it is the plain cosine or polynomial. The end is reached at step S: with the
    default, the last step of the run, S - 1, is one short of it.

    Raises:
      ScheduleError: ``decay_steps`` is less than one step, or ``power`` is given for the cosine, which has none.

    Example:
      >>> import lrtrain
      >>> rate = lrtrain.schedule("k-decay(init_value=1, k=2)", total_steps=100)
      >>> [round(float(rate(step)), 5) for step in (0, 10, 50, 80, 99, 100)]
      [1.0, 0.99975, 0.85355, 0.28711, 0.00098, 0.0]

    Reference: Zhang and Li, arXiv 2004.05909.
    """

    traits: ClassVar[Traits] = Traits(reaches_zero=True)

    init_value: Annotated[LearningRate, Doc("learning rate at step 0")] = 3e-4
    end_value: Annotated[LearningRate, Doc("learning rate from decay_steps on")] = 0.0
    k: Annotated[PositiveFloat, Doc("power of time; 1: the plain decay")] = 2.0
    shape: Annotated[Literal["cosine", "polynomial"], Doc("curve of the decay")] = "cosine"
    power: Annotated[PositiveFloat, Doc("power of the polynomial")] = 1.0
    decay_steps: Annotated[Duration, Doc("length of the decay")] = Duration("100%")

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule."""
        steps = context.steps(self.decay_steps)
        if steps < 1:
            raise ScheduleError(
                f"decay_steps={self.decay_steps} is 0 steps in a run of {context.total_steps}: give at least 1 step"
            )
        if self.shape == "cosine" and self.power != 1:
            raise ScheduleError(f"power={self.power} with shape=cosine is refused: give it with shape=polynomial")
        return self._schedule(steps)

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        steps = context.steps(self.decay_steps)
        time = f"(t / {steps}) ** k"
        share = f"(1 + cos(pi * {time})) / 2" if self.shape == "cosine" else f"(1 - {time}) ** power"
        fall = Piece(steps, f"end_value + (init_value - end_value) * {share}", self)
        return [fall, Piece(None, "end_value", self)]

    def _schedule(self, steps: int) -> Schedule:
        import jax.numpy as jnp

        def schedule(count: jax.typing.ArrayLike) -> jax.Array:
            # float32 keeps its digits where the logarithm takes the smaller of what has passed and what is left, and
            # where the cosine comes from its half; compiled, what is left of all steps may be a little under 1.
            passed, remaining = jnp.clip(count / steps, 0, 1), jnp.clip((steps - count) / steps, 0, 1)
            logarithm = jnp.where(passed < 0.5, jnp.log(passed), jnp.log1p(-remaining))
            left = -jnp.expm1(self.k * logarithm)
            share = jnp.sin(jnp.pi / 2 * left) ** 2 if self.shape == "cosine" else left**self.power
            return self.end_value + (self.init_value - self.end_value) * share

        return schedule
