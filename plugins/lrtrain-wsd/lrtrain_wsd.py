"""Warmup, stable, 1-sqrt decay, as a plugin of lrtrain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from lrtrain import Doc, Duration, LearningRate, Schedule, ScheduleContext, ScheduleError, Traits, hookimpl

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True)
class WSD:
    r"""Linear warmup, a long constant phase, then a fall to ``end_value`` in the shape of 1 - sqrt.

    .. math::
        \eta_t = \begin{cases}
          \text{init} + (\text{peak} - \text{init}) \, t / W & t < W \\
          \text{peak} & W \le t \le T - D \\
          \text{end} + (\text{peak} - \text{end}) (1 - \sqrt{(t - (T - D)) / D}) & T - D < t
        \end{cases}

    W is ``warmup_steps``, D is ``decay_steps``, T the length of the run. The constant phase can be prolonged at will:
    only the decay depends on where the run ends. The last step of the run, T - 1, is one short of ``end_value``. With
    ``init_value=0`` and a warmup, step 0 is an update that changes nothing.

    Raises:
      ScheduleError: warmup and decay together are longer than the run.

    Example:
      >>> import lrtrain
      >>> rate = lrtrain.schedule("wsd(peak_value=1, warmup_steps=10, decay_steps=20)", total_steps=100)
      >>> [round(float(rate(step)), 5) for step in (5, 79, 80, 81, 90, 99)]
      [0.5, 1.0, 1.0, 0.77639, 0.29289, 0.02532]

    References: MiniCPM, arXiv 2404.06395 (warmup-stable-decay); Hägele et al., arXiv 2405.18392 (the 1-sqrt decay).
    """

    traits: ClassVar[Traits] = Traits(reaches_zero=True, may_rise=True)

    init_value: Annotated[LearningRate, Doc("learning rate at step 0")] = 0.0
    peak_value: Annotated[LearningRate, Doc("learning rate of the constant phase")] = 3e-4
    end_value: Annotated[LearningRate, Doc("learning rate that the decay ends at, just after the last step")] = 0.0
    warmup_steps: Annotated[Duration, Doc("length of the warmup")] = Duration("10%")
    decay_steps: Annotated[Duration, Doc("length of the decay, at the end of the run")] = Duration("20%")

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule; the decay ends with the run."""
        warmup, decay = context.steps(self.warmup_steps), context.steps(self.decay_steps)
        total = context.total_steps
        if warmup + decay > total:
            raise ScheduleError(
                f"warmup_steps={self.warmup_steps} and decay_steps={self.decay_steps} are {warmup + decay} steps "
                f"together, and the run has {total}: make one of them shorter"
            )
        return self._schedule(warmup, decay, total)

    def _schedule(self, warmup: int, decay: int, total: int) -> Schedule:
        import jax.numpy as jnp

        def schedule(count: jax.typing.ArrayLike) -> jax.Array:
            rising = jnp.clip(count / max(warmup, 1), 0, 1) if warmup else 1
            falling = jnp.sqrt(jnp.clip((count - (total - decay)) / max(decay, 1), 0, 1))
            warm = self.init_value + (self.peak_value - self.init_value) * rising
            return warm + (self.end_value - self.peak_value) * falling

        return schedule
