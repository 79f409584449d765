"""One factor at each milestone, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

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
class Multistep:
    r"""Constant pieces: at each milestone the learning rate is multiplied by ``gamma``.

    .. math:: \eta_t = \text{init} \cdot \gamma^{|\{i : m_i \le t\}|}

    A milestone :math:`m_i` acts at its step, not a step later. The defaults, a tenth after 30%, 60% and 90% of the run,
    are the steps of many ImageNet recipes (30, 60, 90 of 100 epochs). One that the run never reaches is allowed and
    does nothing. For factors that differ use ``piecewise-constant``.

    Raises:
      ScheduleError: there is no milestone, one is at step 0 (``init_value`` would never be applied), or they are not in
        rising order.

    Example:
      >>> import lrtrain
      >>> rate = lrtrain.schedule("multistep(init_value=1, gamma=0.5, milestones=[3, 6])", total_steps=9)
      >>> [float(rate(step)) for step in (0, 2, 3, 5, 6, 8)]
      [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]

    Reference: `torch.optim.lr_scheduler.MultiStepLR`.
    """

    traits: ClassVar[Traits] = Traits(min_steps=4)

    init_value: Annotated[LearningRate, Doc("learning rate before the first milestone")] = 3e-4
    milestones: Annotated[tuple[Duration, ...], Doc("steps at which the learning rate is multiplied by gamma")] = (
        Duration("30%"),
        Duration("60%"),
        Duration("90%"),
    )
    gamma: Annotated[PositiveFloat, Doc("factor at each milestone")] = 0.1

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule; the milestones are checked here."""
        steps = self._steps(context)
        import jax.numpy as jnp

        values = self._values()

        def schedule(count: jax.typing.ArrayLike) -> jax.Array:
            passed = sum(jnp.asarray(count >= step, int) for step in steps)
            return jnp.asarray(values)[passed]

        return schedule

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        ends = [*self._steps(context), None]
        return [Piece(end, f"init_value * gamma ** {passed}", self) for passed, end in enumerate(ends)]

    def _values(self) -> list[float]:
        """Returns the learning rate of each piece; what is too large for a float is infinite, and refused as such."""
        values = [self.init_value]
        for _ in self.milestones:
            values.append(values[-1] * self.gamma)
        return values

    def _steps(self, context: ScheduleContext) -> list[int]:
        if not self.milestones:
            raise ScheduleError("milestones=[] has no milestone: give at least one, as in [50%]")
        steps: list[int] = []
        for milestone in self.milestones:
            step, before = context.steps(milestone), steps[-1] if steps else 0
            if step <= before:
                raise ScheduleError(
                    f"milestones: {milestone} is step {step}, not after "
                    f"{f'the milestone before it at step {before}' if steps else 'step 0'}: "
                    "give the milestones in rising order, and a run long enough to keep them apart"
                )
            steps.append(step)
        return steps
