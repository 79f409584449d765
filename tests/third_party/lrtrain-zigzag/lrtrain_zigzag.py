"""Up and down in straight lines, as a plugin of lrtrain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from lrtrain import Doc, LearningRate, PositiveInt, Schedule, ScheduleContext, ScheduleError, hookimpl


@dataclass(frozen=True)
class Zigzag:
    """Goes from ``low_value`` up to ``high_value`` and back, ``cycles`` times in a run, in straight lines."""

    low_value: Annotated[LearningRate, Doc("learning rate at both ends of a cycle")] = 1e-4
    high_value: Annotated[LearningRate, Doc("learning rate in the middle of a cycle")] = 4e-4
    cycles: Annotated[PositiveInt, Doc("number of cycles in a run")] = 2

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule for a run of this length."""
        if 2 * self.cycles > context.total_steps:
            raise ScheduleError(
                f"cycles={self.cycles} does not fit into a run of {context.total_steps} steps: "
                f"a cycle has at least 2, so give at most {context.total_steps // 2}"
            )

        def schedule(step: int) -> float:
            done = step * self.cycles / context.total_steps % 1
            return self.low_value + (self.high_value - self.low_value) * (1 - abs(2 * done - 1))

        return schedule
