"""Cyclical learning rates, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
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
class Cyclic:
    r"""Straight lines up to ``peak_value`` and down to ``init_value``, again and again.

    .. math::
        \eta_t = \text{init} + (\text{peak} - \text{init}) \, a_t \begin{cases}
          \tau / U & \tau < U \\
          (U + D - \tau) / D & \tau \ge U
        \end{cases}
        \qquad \tau = t \bmod (U + D)

    U is ``step_size_up``, D is ``step_size_down``. The height :math:`a_t` of the cycles is 1 in mode ``triangular``,
    :math:`2^{-\lfloor t / (U + D) \rfloor}` in ``triangular2``, which halves it after each cycle, and
    :math:`\gamma^t` in ``exp_range``. With the defaults there are five cycles in a run.

    Raises:
      ScheduleError: ``step_size_up`` or ``step_size_down`` is less than one step, ``peak_value`` is under
        ``init_value``, ``gamma`` is over 1, or it is given in a mode that does not use it.

    Example:
      >>> import lrtrain
      >>> spec = "cyclic(init_value=0.1, peak_value=1, step_size_up=20, mode=triangular2)"
      >>> rate = lrtrain.schedule(spec, total_steps=100)
      >>> [round(float(rate(step)), 5) for step in (0, 10, 20, 40, 60, 99)]
      [0.1, 0.55, 1.0, 0.1, 0.55, 0.31375]

    References: Smith, arXiv 1506.01186; `torch.optim.lr_scheduler.CyclicLR`.
    """

    traits: ClassVar[Traits] = Traits(may_rise=True, min_steps=10)

    init_value: Annotated[LearningRate, Doc("learning rate between the cycles")] = 1e-4
    peak_value: Annotated[LearningRate, Doc("learning rate at the top of the first cycle")] = 4e-4
    step_size_up: Annotated[Duration, Doc("steps from the bottom to the top")] = Duration("10%")
    step_size_down: Annotated[Duration | None, Doc("steps from the top to the bottom; none: as many as to the top")] = (
        None
    )
    mode: Annotated[
        Literal["triangular", "triangular2", "exp_range"], Doc("height of the cycles: one, halved, or falling by gamma")
    ] = "triangular"
    gamma: Annotated[
        PositiveFloat | None, Doc("factor of the height for every step in exp_range; none: to a tenth in the run")
    ] = None

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule."""
        for name, steps in zip(("step_size_up", "step_size_down"), self._sizes(context), strict=True):
            if steps < 1:
                given = self.step_size_up if name == "step_size_up" else self.step_size_down
                raise ScheduleError(f"{name}={given} is 0 steps in a run of {context.total_steps}: give at least 1")
        if self.peak_value < self.init_value:
            raise ScheduleError(
                f"peak_value={self.peak_value} is under init_value={self.init_value}: a cycle goes up first"
            )
        if self.gamma is not None and (self.mode != "exp_range" or self.gamma > 1):
            raise ScheduleError(
                f"gamma={self.gamma} with mode={self.mode} is refused: give a gamma of at most 1, with mode=exp_range"
            )
        return self._schedule(*self._sizes(context), self._log_gamma(context))

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        up, down = self._sizes(context)
        ramp = f"minimum(t % {up + down} / {up}, ({up + down} - t % {up + down}) / {down})"
        height = {
            "triangular": "",
            "triangular2": f" * 0.5 ** (t // {up + down})",
            "exp_range": f" * exp({self._log_gamma(context)} * t)",
        }[self.mode]
        return [Piece(None, f"init_value + (peak_value - init_value) * {ramp}{height}", self)]

    def _sizes(self, context: ScheduleContext) -> tuple[int, int]:
        up = context.steps(self.step_size_up)
        return up, up if self.step_size_down is None else context.steps(self.step_size_down)

    def _log_gamma(self, context: ScheduleContext) -> float:
        return -log(10) / context.total_steps if self.gamma is None else log(self.gamma)

    def _schedule(self, up: int, down: int, log_gamma: float) -> Schedule:
        import jax.numpy as jnp

        def schedule(count: jax.typing.ArrayLike) -> jax.Array:
            # The place in the cycle is counted in whole numbers: a quotient of floats turns a step late.
            cycle, place = count // (up + down), count % (up + down)
            ramp = jnp.where(place < up, place / up, (up + down - place) / down)
            if self.mode == "triangular2":
                ramp = ramp * jnp.exp2(-jnp.asarray(cycle, float))
            if self.mode == "exp_range":
                ramp = ramp * jnp.exp(count * log_gamma)
            return self.init_value + (self.peak_value - self.init_value) * ramp

        return schedule
