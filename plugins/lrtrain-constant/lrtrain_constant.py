"""A constant learning rate, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from lrtrain import Doc, LearningRate, Piece, Schedule, ScheduleContext, Traits, hookimpl


@dataclass(frozen=True)
class Constant:
    r"""The same learning rate at every step.

    .. math:: \eta_t = \text{value}

    The baseline for every other schedule, and the right choice when something else lowers the learning rate.

    Example:
      >>> import lrtrain
      >>> rate = lrtrain.schedule("constant(value=0.5)", total_steps=100)
      >>> float(rate(0)), float(rate(99))
      (0.5, 0.5)

    Reference: `optax.constant_schedule`.
    """

    traits: ClassVar[Traits] = Traits()

    value: Annotated[LearningRate, Doc("learning rate of every step")] = 1e-4

    @hookimpl
    def build_schedule(self) -> Schedule:
        """Builds the schedule; its value does not depend on the length of the run."""
        import optax

        return optax.constant_schedule(self.value)

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:  # noqa: ARG002  # every formula is asked with it
        """Returns the schedule's closed form."""
        return [Piece(None, "value", self)]
