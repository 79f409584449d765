"""A schedule whose example shows what is not so."""

from __future__ import annotations

from dataclasses import dataclass

from lrtrain import Schedule, hookimpl


@dataclass(frozen=True)
class Example:
    """Constant. Reference: none.

    Example:
      >>> Example().height
      0.2
    """

    @property
    def height(self) -> float:
        """The value of every step."""
        return 0.1

    @hookimpl
    def build_schedule(self) -> Schedule:
        """Builds the schedule."""
        return lambda step: self.height
