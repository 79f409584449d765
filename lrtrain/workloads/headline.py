"""The one number that a workload is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Headline:
    """The one number that a workload is judged by: the name of a metric, or ``"loss"``, and which value is better."""

    name: str = "loss"
    mode: Literal["min", "max"] = "min"

    @property
    def sign(self) -> int:
        """The sign of a change for the better."""
        return 1 if self.mode == "max" else -1


ACCURACY = Headline("accuracy", "max")
"""The headline where classes are told apart."""


def noted(headline: Headline) -> Headline | None:
    """Returns a headline as a configuration notes it: the accuracy, which was the only one once, is left out."""
    return None if headline == ACCURACY else headline
