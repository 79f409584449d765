"""Cosine one-cycle, as a plugin of lrtrain."""

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
    exact,
    hookimpl,
)


@dataclass(frozen=True)
class CosineOnecycle:
    r"""One cycle: up to ``peak_value`` along half a cosine, then down along another to almost nothing.

    .. math::
        \eta_t = b + \tfrac{1}{2} (a - b) (1 + \cos(\pi x)), \quad (a, b, x) = \begin{cases}
          (\text{peak} / \text{div}, \; \text{peak}, \; t / P) & t < P \\
          (\text{peak}, \; \text{peak} / (\text{div} \cdot \text{final}), \; (t - P) / (S - P)) & P \le t < S
        \end{cases}

    S is ``transition_steps`` and P is ``pct_start`` of it, in exact arithmetic and rounded down (0.29 of 100 steps is
    29, where optax takes 28). The cycle begins at ``peak_value / div_factor`` and ends, at step S, at
    ``peak_value / (div_factor * final_div_factor)``: the last step, S - 1, is one short of that. Where the run is so
    short that the rise has no step, it begins at the peak. A cycle longer than the run is cut off by the end of
    the run; after a shorter one the learning rate stays.

    Raises:
      ScheduleError: ``transition_steps`` is less than one step, or ``pct_start`` leaves none to one of the two phases.

    Example:
      >>> import lrtrain
      >>> spec = "cosine-onecycle(peak_value=1, pct_start=20%, div_factor=10, final_div_factor=100)"
      >>> rate = lrtrain.schedule(spec, total_steps=100)
      >>> [round(float(rate(step)), 4) for step in (0, 10, 20, 60, 100)]
      [0.1, 0.55, 1.0, 0.5005, 0.001]

    References: Smith and Topin, arXiv 1708.07120; `optax.cosine_onecycle_schedule`.
    """

    traits: ClassVar[Traits] = Traits(may_rise=True)

    transition_steps: Annotated[Duration, Doc("length of the cycle")] = Duration("100%")
    peak_value: Annotated[LearningRate, Doc("learning rate between the two phases, the highest")] = 1e-4
    pct_start: Annotated[Share, Doc("share of the cycle that is spent going up")] = 0.3
    div_factor: Annotated[PositiveFloat, Doc("peak_value divided by this is the learning rate at step 0")] = 25.0
    final_div_factor: Annotated[
        PositiveFloat, Doc("the learning rate at step 0 divided by this is the one at the end")
    ] = 1e4

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule."""
        steps = context.steps(self.transition_steps)
        if steps < 1:
            raise ScheduleError(
                f"transition_steps={self.transition_steps} is 0 steps in a run of {context.total_steps}: "
                "give at least 1 step"
            )
        if not 0 < self.pct_start < 1:
            raise ScheduleError(
                f"pct_start={self.pct_start} leaves no step to go {'down' if self.pct_start else 'up'} in: "
                "give a share between 0 and 1, such as 0.2"
            )
        rise = int(exact(self.pct_start) * steps)
        import optax

        # optax rounds a product of floats down: with half a step more it lands on `rise`, however that is rounded.
        return optax.cosine_onecycle_schedule(
            steps, self.peak_value, (rise + 0.5) / steps, self.div_factor, self.final_div_factor
        )

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        steps = context.steps(self.transition_steps)
        rise = int(exact(self.pct_start) * steps)
        init, end = "peak_value / div_factor", "peak_value / (div_factor * final_div_factor)"
        up, down = f"cos(pi * t / {rise})", f"cos(pi * (t - {rise}) / {steps - rise})"
        return [
            Piece(rise, f"{init} + (peak_value - {init}) * (1 - {up}) / 2", self),
            Piece(steps, f"{end} + (peak_value - {end}) * (1 + {down}) / 2", self),
            Piece(None, end, self),
        ]
