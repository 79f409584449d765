"""The power scheduler, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from lrtrain import (
    Doc,
    Duration,
    LearningRate,
    Piece,
    PositiveInt,
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
class Power:
    r"""A power of the amount of data seen, bounded above; with a warmup before it and a line down at the end.

    .. math::
        \eta_t = \begin{cases}
          p(W) \, t / W & t < W \\
          p(t) & W \le t \le T - D \\
          \text{end} + (p(T - D) - \text{end}) \, (T - t) / D & T - D < t
        \end{cases}
        \qquad p(t) = \min\left(\text{peak}, \; \beta \, a \, (\beta \, l \, t)^b\right)

    W is ``warmup_steps``, D is ``decay_steps``, T the length of the run. :math:`\beta` is ``batch_size``, in examples;
    l is ``example_size``, the tokens in an example, so that :math:`\beta l t` is what has been seen by step t; a is
    ``amplitude``, b is ``exponent``. The rate is proportional to the batch, at the same amount of data. Apart from
    warmup and decay nothing depends on the length of the run. Step 0 without a warmup counts as step 1.

    The paper has a = 4, b = -0.51 and a bound of 0.02, for Adam with muP, batches counted in sequences and data in
    tokens; an ``amplitude`` holds for its own units and optimizer alone. Its experiments end in an exponential decay to
    0 whose formula it does not give: here the decay is a straight line.

    Raises:
      ScheduleError: ``exponent`` is over 0, or warmup and decay together are longer than the run.

    Example:
      >>> import lrtrain
      >>> spec = "power(peak_value=1, amplitude=4, exponent=-0.5, batch_size=1, warmup_steps=0, decay_steps=20)"
      >>> rate = lrtrain.schedule(spec, total_steps=120)
      >>> [round(float(rate(step)), 5) for step in (0, 16, 25, 64, 100, 110, 120)]
      [1.0, 1.0, 0.8, 0.5, 0.4, 0.2, 0.0]

    Reference: Shen et al., arXiv 2408.13359.
    """

    traits: ClassVar[Traits] = Traits(reaches_zero=True, may_rise=True)

    peak_value: Annotated[LearningRate, Doc("upper bound of the learning rate")] = 3e-4
    end_value: Annotated[LearningRate, Doc("learning rate that the decay ends at, just after the last step")] = 0.0
    amplitude: Annotated[PositiveLearningRate, Doc("factor of the power, for one example in a batch")] = 3e-4
    exponent: Annotated[float, Doc("exponent of the amount of data seen, at most 0")] = -0.51
    batch_size: Annotated[PositiveInt, Doc("examples in a batch; give the run's own")] = 256
    example_size: Annotated[PositiveInt, Doc("tokens in an example; 1: the data is counted in examples")] = 1
    warmup_steps: Annotated[Duration, Doc("length of the warmup; 0: none")] = Duration("10%")
    decay_steps: Annotated[Duration, Doc("length of the decay, at the end of the run; 0: none")] = Duration("10%")

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule; the decay ends with the run."""
        warmup, decay = context.steps(self.warmup_steps), context.steps(self.decay_steps)
        total = context.total_steps
        if self.exponent > 0:
            raise ScheduleError(f"exponent={self.exponent} is over 0, and the power would rise: give at most 0")
        if warmup + decay > total:
            raise ScheduleError(
                f"warmup_steps={self.warmup_steps} and decay_steps={self.decay_steps} are {warmup + decay} steps "
                f"together, and the run has {total}: make one of them shorter"
            )
        return self._schedule(warmup, decay, total)

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        warmup, decay = context.steps(self.warmup_steps), context.steps(self.decay_steps)
        total = context.total_steps
        rise = Piece(warmup, f"{self._power(str(max(warmup, 1)))} * t / {warmup}", self)
        if decay == 0:
            return [rise, Piece(None, self._power("maximum(t, 1)"), self)]
        top = self._power(str(max(total - decay, 1)))
        return [
            rise,
            Piece(total - decay, self._power("maximum(t, 1)"), self),
            Piece(total, f"end_value + ({top} - end_value) * ({total} - t) / {decay}", self),
            Piece(None, "end_value", self),
        ]

    def _power(self, step: str) -> str:
        seen = f"({self.batch_size * self.example_size} * {step})"
        return f"minimum(peak_value, {self.batch_size} * amplitude * {seen} ** exponent)"

    def _schedule(self, warmup: int, decay: int, total: int) -> Schedule:
        import jax.numpy as jnp

        scale, unit = self.batch_size * self.amplitude, float(self.batch_size * self.example_size)

        def power(step: jax.typing.ArrayLike) -> jax.Array:
            return jnp.minimum(self.peak_value, scale * (unit * jnp.maximum(step, 1)) ** self.exponent)

        def schedule(count: jax.typing.ArrayLike) -> jax.Array:
            # Each phase holds the power where the next one meets it.
            top = power(jnp.clip(count, warmup, total - decay if decay else None))
            if warmup:
                top = top * jnp.clip(count / warmup, 0, 1)
            falling = jnp.clip((total - count) / decay, 0, 1) if decay else 1
            return self.end_value + (top - self.end_value) * falling if decay else top

        return schedule
