"""Constant pieces, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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
    Traits,
    hookimpl,
)


@dataclass(frozen=True)
class PiecewiseConstant:
    r"""Constant pieces: at each boundary the learning rate is multiplied by a factor.

    .. math:: \eta_t = \text{init} \prod_{i : b_i \le t} f_i

    ``boundaries_and_scales`` has a boundary :math:`b_i` and a factor :math:`f_i` in each entry. The factors are
    cumulative: ``{25%: 0.5, 50%: 0.5}`` goes down to a half and then to a quarter of ``init_value``. A factor acts at
    its boundary, not a step later. A boundary that the run never reaches is allowed and does nothing: where boundaries
    are given in steps, a shorter run is the beginning of a longer one.

    Raises:
      ScheduleError: there is no boundary, one is at step 0 (``init_value`` would never be applied), or they are not in
        rising order: two that fall on one step would overwrite each other.

    Example:
      >>> import lrtrain
      >>> spec = "piecewise-constant(init_value=1, boundaries_and_scales={3: 0.5, 6: 0.1})"
      >>> rate = lrtrain.schedule(spec, total_steps=9)
      >>> [round(float(rate(step)), 4) for step in (0, 2, 3, 5, 6, 8)]
      [1.0, 1.0, 0.5, 0.5, 0.05, 0.05]

    Reference: `optax.piecewise_constant_schedule`.
    """

    traits: ClassVar[Traits] = Traits(min_steps=4)

    init_value: Annotated[LearningRate, Doc("learning rate before the first boundary")] = 3e-4
    boundaries_and_scales: Annotated[
        dict[Duration, PositiveFloat], Doc("at which steps the learning rate is multiplied, and by what")
    ] = field(default_factory=lambda: {Duration("25%"): 0.5, Duration("50%"): 0.5, Duration("75%"): 0.5})

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule; the boundaries are checked here, before optax sorts them."""
        scales = self._scales(context)
        import optax

        return optax.piecewise_constant_schedule(self.init_value, scales)

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        pieces, value = [], "init_value"
        for step, scale in self._scales(context).items():
            pieces.append(Piece(step, value, self))
            value = f"{value} * {scale}"
        return [*pieces, Piece(None, value, self)]

    def _scales(self, context: ScheduleContext) -> dict[int, float]:
        """Returns the factors by step, the steps in rising order."""
        if not self.boundaries_and_scales:
            raise ScheduleError("boundaries_and_scales={} has no boundary: give at least one, as in {50%: 0.5}")
        scales: dict[int, float] = {}
        for boundary, scale in self.boundaries_and_scales.items():
            step, before = context.steps(boundary), max(scales, default=0)
            if step <= before:
                raise ScheduleError(
                    f"boundaries_and_scales: {boundary} is step {step}, not after "
                    f"{f'the boundary before it at step {before}' if scales else 'step 0'}: "
                    "give the boundaries in rising order, and a run long enough to keep them apart"
                )
            scales[step] = scale
        return scales
