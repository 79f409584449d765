"""The schedule of the Transformer, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from lrtrain import Doc, Duration, Piece, PositiveInt, PositiveLearningRate, Schedule, ScheduleContext, Traits, hookimpl

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True)
class Noam:
    r"""The schedule of the Transformer: linear warmup, then decay with the inverse square root of the step.

    .. math:: \eta_t = k \, d^{-1/2} \min\left((t + 1)^{-1/2}, \, (t + 1) \, W^{-3/2}\right)

    k is ``factor``, d is ``model_size``, W is ``warmup_steps``. The paper counts steps from 1, so step 0 here has a
    learning rate over 0, and the peak :math:`k \, (d W)^{-1/2}` is at step W - 1: it follows from the three and is no
    option. The paper has ``factor=1``, for Adam and the mean of the loss; the default here is a tenth, which peaks
    at 2.9e-4 in a run of 2,350 steps. A warmup of 0 steps is no warmup: the decay begins at step 0.

    Example:
      >>> import lrtrain
      >>> rate = lrtrain.schedule("noam(factor=1, model_size=512, warmup_steps=10)", total_steps=100)
      >>> [round(1000 * float(rate(step)), 5) for step in (0, 5, 9, 10, 50, 99)]
      [1.39754, 8.38525, 13.97542, 13.32504, 6.18842, 4.41942]

    Reference: Vaswani et al., arXiv 1706.03762.
    """

    traits: ClassVar[Traits] = Traits(may_rise=True)

    factor: Annotated[PositiveLearningRate, Doc("factor of the whole curve; 1 in the paper")] = 0.1
    model_size: Annotated[PositiveInt, Doc("width of the model, whose inverse square root scales the curve")] = 512
    warmup_steps: Annotated[Duration, Doc("length of the warmup; 0: none")] = Duration("10%")

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule."""
        warmup, scale = self._warmup(context), self.factor * self.model_size**-0.5
        import jax.numpy as jnp

        def schedule(count: jax.typing.ArrayLike) -> jax.Array:
            # One more than the count, in floats: the largest int32 has no next one.
            step = jnp.asarray(count, float) + 1
            return scale * jnp.minimum(1 / jnp.sqrt(step), step * warmup**-1.5)

        return schedule

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        warmup, scale = self._warmup(context), f"factor / sqrt({self.model_size})"
        rise = Piece(warmup, f"{scale} * (t + 1) / {warmup}**1.5", self)
        return [rise, Piece(None, f"{scale} / sqrt(t + 1)", self)]

    def _warmup(self, context: ScheduleContext) -> int:
        # Over one step both curves are equal: that is no warmup.
        return max(context.steps(self.warmup_steps), 1)
