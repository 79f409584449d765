"""Linear one-cycle, as a plugin of lrtrain."""

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
class LinearOnecycle:
    r"""One cycle of three straight lines: up to ``peak_value``, down again as far, and down to almost nothing.

    .. math::
        \eta \text{ is straight between } (0, \tfrac{\text{peak}}{\text{div}}), \; (P, \text{peak}), \;
        (F, \tfrac{\text{peak}}{\text{div}}), \; (S, \tfrac{\text{peak}}{\text{div} \cdot \text{final}})

    S is ``transition_steps``; P is ``pct_start`` of it and F is ``pct_final`` of it, in exact arithmetic and rounded
    down (0.29 of 100 steps is 29, where optax takes 28). The true end value, at step S, is
    ``peak_value / (div_factor * final_div_factor)``; optax's documentation can be read as peak_value /
    final_div_factor, which it is not. The last step, S - 1, is one short of it. Where the run is so short that the
    rise has no step, it begins at the peak. A cycle longer than the run is cut off by the end of the run; after a
    shorter one the learning rate stays.

    Raises:
      ScheduleError: ``transition_steps`` is less than one step, or ``pct_start`` and ``pct_final`` leave none to one of
        the three phases (two that meet would overwrite each other in optax, and the peak would never be reached).

    Example:
      >>> import lrtrain
      >>> spec = "linear-onecycle(peak_value=1, pct_start=25%, pct_final=75%, div_factor=10, final_div_factor=100)"
      >>> rate = lrtrain.schedule(spec, total_steps=100)
      >>> [round(float(rate(step)), 4) for step in (0, 25, 50, 75, 100)]
      [0.1, 1.0, 0.55, 0.1, 0.001]

    References: Smith and Topin, arXiv 1708.07120; `optax.linear_onecycle_schedule`.
    """

    traits: ClassVar[Traits] = Traits(may_rise=True, min_steps=2)

    transition_steps: Annotated[Duration, Doc("length of the cycle")] = Duration("100%")
    peak_value: Annotated[LearningRate, Doc("learning rate after the first phase, the highest")] = 1e-4
    pct_start: Annotated[Share, Doc("share of the cycle at which the first phase, up, ends")] = 0.3
    pct_final: Annotated[Share, Doc("share of the cycle at which the second phase, down again, ends")] = 0.85
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
        start, final = self._phases(steps)
        import optax

        # optax rounds products of floats down: with half a step more they land on these steps however they are rounded.
        return optax.linear_onecycle_schedule(
            steps,
            self.peak_value,
            (start + 0.5) / steps,
            (final + 0.5) / steps,
            self.div_factor,
            self.final_div_factor,
        )

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        steps = context.steps(self.transition_steps)
        start, final = self._phases(steps)
        init, end = "peak_value / div_factor", "peak_value / (div_factor * final_div_factor)"
        return [
            Piece(start, f"{init} + (peak_value - {init}) * t / {start}", self),
            Piece(final, f"peak_value + ({init} - peak_value) * (t - {start}) / {final - start}", self),
            Piece(steps, f"{init} + ({end} - {init}) * (t - {final}) / {steps - final}", self),
            Piece(None, end, self),
        ]

    def _phases(self, steps: int) -> tuple[int, int]:
        """Returns the steps at which the first and the second phase end."""
        if not 0 < self.pct_start < self.pct_final < 1:
            raise ScheduleError(
                f"pct_start={self.pct_start} and pct_final={self.pct_final} leave a phase without a step: "
                "give 0 < pct_start < pct_final < 1, such as 0.25 and 0.7"
            )
        start, final = (int(exact(share) * steps) for share in (self.pct_start, self.pct_final))
        if start == final:
            raise ScheduleError(
                f"pct_start={self.pct_start} and pct_final={self.pct_final} are both step {start} of a cycle of "
                f"{steps}: give them further apart, or a longer run"
            )
        return start, final
