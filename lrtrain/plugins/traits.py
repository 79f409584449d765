"""What a plugin declares of its schedule, so that the checks need not know it by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Traits:
    """What is true of a schedule with its default options.

    A plugin declares them in its class: ``traits: ClassVar[Traits] = Traits(reaches_zero=True, min_steps=4)``.
    `lrtrain.testing` checks that they hold.

    Args:
      reaches_zero: whether the learning rate is 0 at some step from 0 to the end of the run, the step right after the
        last one included.
      may_rise: whether a learning rate may be higher than the one before it.
      min_steps: the shortest run, in steps, that the schedule can be built for; a shorter one raises ScheduleError.

    Example:
      >>> Traits(may_rise=True)
      Traits(reaches_zero=False, may_rise=True, min_steps=1)
    """

    reaches_zero: bool = False
    may_rise: bool = False
    min_steps: int = 1
