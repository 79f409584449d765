"""The one number that a workload is judged by, and how it is written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Headline:
    """The one number that a workload is judged by: the name of a metric, or ``"loss"``, and which value is better."""

    name: str = "loss"
    mode: Literal["min", "max"] = "min"

    @property
    def sign(self) -> int:
        """The sign of a change for the better."""
        return 1 if self.mode == "max" else -1

    @property
    def is_loss(self) -> bool:
        """Whether it is the loss, which is always shown, so that it is not shown twice."""
        return self.name == "loss"

    def best(self, values: Iterable[float]) -> float:
        """Returns the best of some values; NaN where there is none."""
        found = [value for value in values if not math.isnan(value)]
        return max(found, key=lambda value: self.sign * value, default=math.nan)

    def rank(self, value: float) -> float:
        """Returns a number that is lowest for the best value, and infinite for one that is not finite."""
        return -self.sign * value if math.isfinite(value) else math.inf

    @property
    def better(self) -> str:
        """Which value is better, in a word."""
        return "higher" if self.mode == "max" else "lower"

    def meaning(self, of: str = "") -> str:
        """Returns what it is, such as ``share of the test images classified right``."""
        return f"share{of} classified right" if self._is_share else f"mean {self.name}{of}"

    @property
    def remark(self) -> str:
        """What follows where a reader may not know which value is better."""
        return "" if self._is_share else f"; {self.better} is better"

    def spoken(self, value: float) -> str:
        """Returns a value as a sentence has it."""
        return f"{100 * value:.2f} percent" if self._is_share else self.text(value)

    def sentence(self, value: float, where: str, examples: str) -> str:
        """Returns a sentence, but for its end, with the value of the ``"test"`` or ``"validation"`` examples."""
        if self._is_share:
            return f"{self.spoken(value)} of the {where} {examples} are classified right"
        return f"The {where} {self.name} is {self.spoken(value)}"

    @property
    def best_name(self) -> str:
        """What the best value is called."""
        return f"{'highest' if self.mode == 'max' else 'lowest'} {self.name}"

    @property
    def form(self) -> str:
        """The format of a value."""
        return ".4f" if self._is_share else ".5g"

    def text(self, value: float) -> str:
        """Returns a value as texts and tables have it."""
        return format(value, self.form)

    @property
    def factor(self) -> int:
        """What a value is multiplied by in pictures and in differences: the accuracy is in percent there."""
        return 100 if self._is_share else 1

    def axis(self, when: str = "") -> str:
        """Returns the title of an axis in a picture, such as ``accuracy after the last step (percent)``."""
        return f"{self.name}{when}{' (percent)' if self._is_share else ''}"

    @property
    def drawn(self) -> str:
        """The format of a value in a picture, times `factor`."""
        return ".2f" if self._is_share else ".5g"

    def difference(self, value: float, sign: str = "") -> str:
        """Returns a difference, times `factor`; with ``sign="+"`` one above 0 has a sign too."""
        return format(self.factor * value, f"{sign}{'.2f' if self._is_share else '.3g'}")

    @property
    def points(self) -> str:
        """What follows a difference where there is little room."""
        return " points" if self._is_share else ""

    @property
    def unit(self) -> str:
        """What a difference is measured in."""
        return "points of accuracy" if self._is_share else self.name

    def amount(self, value: float) -> str:
        """Returns a difference with its unit, such as ``0.52 points of accuracy`` or ``0.0123 of loss``."""
        return f"{self.difference(value)} {'' if self._is_share else 'of '}{self.unit}"

    @property
    def figure(self) -> str:
        """The name of its picture, which is a part of a path, so that not every name of a metric could be it."""
        return "accuracy" if self._is_share else "headline"

    @property
    def _is_share(self) -> bool:
        return self.name == "accuracy"


ACCURACY = Headline("accuracy", "max")
"""The headline of a classification."""


def noted(headline: Headline) -> Headline | None:
    """Returns a headline as a configuration notes it: the accuracy, which was the only one once, is left out."""
    return None if headline == ACCURACY else headline


def headline_in(values: Mapping[str, Any]) -> Headline:
    """Returns the headline that is noted in a configuration, given as JSON holds it."""
    return Headline(**values["headline"]) if values.get("headline") else ACCURACY
