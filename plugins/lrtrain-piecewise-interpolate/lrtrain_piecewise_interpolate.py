"""Lines or half cosines between given points, as a plugin of lrtrain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from lrtrain import (
    Doc,
    Duration,
    LearningRate,
    PositiveFloat,
    Schedule,
    ScheduleContext,
    ScheduleError,
    Traits,
    hookimpl,
)


@dataclass(frozen=True)
class PiecewiseInterpolate:
    r"""Straight lines or half cosines between points, each a factor of the one before.

    .. math::
        \eta_t = v_i + (v_{i+1} - v_i) \, g\!\left( \frac{t - b_i}{b_{i+1} - b_i} \right)
        \quad \text{for} \quad b_i \le t < b_{i+1}, \qquad v_i = \text{init} \prod_{j \le i} f_j

    with :math:`b_0 = 0`, and :math:`g(x) = x` for lines, :math:`g(x) = (1 - \cos(\pi x)) / 2` for half cosines.
    ``boundaries_and_scales`` has a boundary :math:`b_i` and a factor :math:`f_i` in each entry. The factors are
    cumulative: ``{25%: 0.5, 50%: 0.5}`` passes through a half and then a quarter of ``init_value``. After the last
    boundary the learning rate stays. A boundary after the end of the run is allowed, and the run then ends
    on the way to it: where boundaries are given in steps, a shorter run is the beginning of a longer one.

    Raises:
      ScheduleError: there is no boundary, one is at step 0 (``init_value`` would never be applied), or they are not in
        rising order: two that fall on one step would overwrite each other.

    Example:
      >>> import lrtrain
      >>> spec = "piecewise-interpolate(init_value=1, boundaries_and_scales={4: 0.5, 8: 0.5})"
      >>> rate = lrtrain.schedule(spec, total_steps=10)
      >>> [float(rate(step)) for step in (0, 2, 4, 6, 8, 9)]
      [1.0, 0.75, 0.5, 0.375, 0.25, 0.25]

    Reference: `optax.piecewise_interpolate_schedule`.
    """

    traits: ClassVar[Traits] = Traits(min_steps=4)

    interpolate_type: Annotated[Literal["linear", "cosine"], Doc("straight lines or half cosines")] = "linear"
    init_value: Annotated[LearningRate, Doc("learning rate at step 0")] = 3e-4
    boundaries_and_scales: Annotated[
        dict[Duration, PositiveFloat], Doc("the steps of the points, and the factor of each over the one before")
    ] = field(default_factory=lambda: {Duration("25%"): 0.5, Duration("50%"): 0.5, Duration("75%"): 0.5})

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule; the boundaries are checked here, before optax sorts them."""
        scales = self._scales(context)
        import optax

        return optax.piecewise_interpolate_schedule(self.interpolate_type, self.init_value, scales)

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
