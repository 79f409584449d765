"""Warmup, stable, decay, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from lrtrain import Doc, Duration, LearningRate, Piece, Schedule, ScheduleContext, ScheduleError, Traits, hookimpl

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True)
class WSD:
    r"""Linear warmup, a long constant phase, then a fall to ``end_value`` in a shape that you choose.

    .. math::
        \eta_t = \begin{cases}
          \text{init} + (\text{peak} - \text{init}) \, t / W & t < W \\
          \text{peak} & W \le t \le T - D \\
          \text{end} + (\text{peak} - \text{end}) \, g((t - (T - D)) / D) & T - D < t
        \end{cases}

    W is ``warmup_steps``, D is ``decay_steps``, T the length of the run. The constant phase can be made longer at any
    time: only the decay depends on where the run ends. Its shape is ``decay_type``: g(f) is :math:`1 - \sqrt{f}`
    (``1-sqrt``), :math:`1 - f` (``linear``), :math:`\tfrac{1}{2}(1 + \cos \pi f)` (``cosine``) or :math:`1 - f^2`
    (``square``), and ``exponential`` is :math:`\text{peak} (\text{end} / \text{peak})^f`, which needs an ``end_value``
    over 0. The last step of the run, T - 1, is one short of ``end_value``. With ``init_value=0`` and a warmup, step 0
    is an update that changes nothing.

    Raises:
      ScheduleError: warmup and decay together are longer than the run, or an exponential decay begins or ends at 0.

    Example:
      >>> import lrtrain
      >>> rate = lrtrain.schedule("wsd(peak_value=1, warmup_steps=10, decay_steps=20)", total_steps=100)
      >>> [round(float(rate(step)), 5) for step in (5, 79, 80, 81, 90, 99)]
      [0.5, 1.0, 1.0, 0.77639, 0.29289, 0.02532]

    References: MiniCPM, arXiv 2404.06395 (warmup-stable-decay); Hägele et al., arXiv 2405.18392 (shapes of the decay).
    """

    traits: ClassVar[Traits] = Traits(reaches_zero=True, may_rise=True)

    init_value: Annotated[LearningRate, Doc("learning rate at step 0")] = 0.0
    peak_value: Annotated[LearningRate, Doc("learning rate of the constant phase")] = 3e-4
    end_value: Annotated[LearningRate, Doc("learning rate that the decay ends at, just after the last step")] = 0.0
    warmup_steps: Annotated[Duration, Doc("length of the warmup")] = Duration("10%")
    decay_steps: Annotated[Duration, Doc("length of the decay, at the end of the run")] = Duration("20%")
    decay_type: Annotated[Literal["1-sqrt", "linear", "cosine", "square", "exponential"], Doc("shape of the decay")] = (
        "1-sqrt"
    )

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
        if self.decay_type == "exponential" and not (self.peak_value > 0 and self.end_value > 0):
            raise ScheduleError(
                f"decay_type=exponential goes from peak_value={self.peak_value} to end_value={self.end_value}, "
                "and reaches or leaves no 0: give both over 0"
            )
        return self._schedule(warmup, decay, total)

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        total = context.total_steps
        warmup, decay = context.steps(self.warmup_steps), context.steps(self.decay_steps)
        return [
            Piece(warmup, f"init_value + (peak_value - init_value) * t / {warmup}", self),
            Piece(total - decay, "peak_value", self),
            Piece(total, self._fall(f"((t - {total - decay}) / {decay})"), self),
            Piece(None, "end_value", self),
        ]

    def _fall(self, passed: str) -> str:
        """Returns the decay as an expression of the share of it that has passed."""
        if self.decay_type == "exponential":
            return f"peak_value * exp((log(end_value) - log(peak_value)) * {passed})"
        fallen = {
            "1-sqrt": f"sqrt({passed})",
            "linear": passed,
            "cosine": f"(1 - cos(pi * {passed})) / 2",
            "square": f"{passed} ** 2",
        }[self.decay_type]
        return f"peak_value + (end_value - peak_value) * {fallen}"

    def _schedule(self, warmup: int, decay: int, total: int) -> Schedule:
        import jax.numpy as jnp

        fallen = {
            "1-sqrt": jnp.sqrt,
            "linear": lambda passed: passed,
            "cosine": lambda passed: jnp.sin(jnp.pi / 2 * passed) ** 2,
            "square": jnp.square,
            "exponential": self._exponential,
        }[self.decay_type]

        def schedule(count: jax.typing.ArrayLike) -> jax.Array:
            rising = jnp.clip(count / max(warmup, 1), 0, 1) if warmup else 1
            falling = fallen(jnp.clip((count - (total - decay)) / max(decay, 1), 0, 1))
            warm = self.init_value + (self.peak_value - self.init_value) * rising
            return warm + (self.end_value - self.peak_value) * falling

        return schedule

    def _exponential(self, passed: jax.Array) -> jax.Array:
        """Returns how much of the way from peak_value to end_value is done, exactly 0 and 1 at the ends."""
        import jax.numpy as jnp

        ratio = log(self.end_value) - log(self.peak_value)
        return jnp.expm1(ratio * passed) / jnp.expm1(ratio) if ratio else passed
