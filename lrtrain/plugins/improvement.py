"""When an epoch is better than those before it: the rule of all plugins that act on a metric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from typing_extensions import Doc

from lrtrain.plugins.options import Begins, options_of_type

_HEADLINE = "headline"
Metric = Annotated[
    Literal["test_loss", "train_loss", "test_accuracy", "headline"] | Annotated[str, Begins("test")],
    Doc("what is watched, at the end of every epoch"),
]
"""The name of a metric of `lrtrain.EpochInfo`, or ``"headline"`` for that which the workload is judged by."""
Mode = Annotated[
    Literal["auto", "min", "max"],
    Doc("whether lower or higher is better; auto: higher for test_accuracy, and as the workload says for its headline"),
]
"""Which of two values is better."""
ThresholdMode = Annotated[
    Literal["rel", "abs"], Doc("whether threshold is a share of the best value, or a difference from it")
]
"""What a threshold is measured in."""


class Judging(Protocol):
    """The number that a workload is judged by: its name without ``test_``, and whether lower or higher is better."""

    @property
    def name(self) -> str:
        """The name of a metric, or ``"loss"``."""

    @property
    def mode(self) -> Literal["min", "max"]:
        """Which value is better."""


def auto_mode(metric: str) -> Literal["min", "max"]:
    """Returns which value of a metric is better where nobody says it."""
    return "max" if metric == "test_accuracy" else "min"


def headline_named(plugin: Any, headline: Judging) -> dict[str, str]:
    """Returns the options of a plugin that the headline decides: a metric called so, and then a mode left at auto."""
    name = f"test_{headline.name}"
    found: dict[str, str] = {}
    for option, metric in options_of_type(plugin, Metric).items():
        if metric == _HEADLINE:
            found[option] = name
        if metric in {_HEADLINE, name} and auto_mode(name) != headline.mode:
            modes = options_of_type(plugin, Mode)
            found |= {each: headline.mode for each, mode in modes.items() if mode == "auto"}
    return found


def metrics_watched(plugin: Any) -> list[str]:
    """Returns the metrics that a plugin watches."""
    return list(options_of_type(plugin, Metric).values())


@dataclass(frozen=True)
class Improvement:
    r"""The rule for whether a metric is better than the best so far.

    .. math::
        v < b - \text{threshold} \cdot |b| \quad (\text{rel}), \qquad v < b - \text{threshold} \quad (\text{abs})

    and mirrored where higher is better. For a positive best the arithmetic is PyTorch's to the bit. For a negative best
    PyTorch uses b instead of its absolute value, so that an unchanged metric counts as better; here it never does.

    Args:
      metric: an attribute of `lrtrain.EpochInfo`; ``"test_accuracy"`` is better when it is higher.
      mode: ``"min"`` or ``"max"`` says which is better for any metric; ``"auto"`` chooses by the metric.
      threshold: by how much a value must be better, as a share or in the metric's unit.
      threshold_mode: ``"rel"`` for a share of the best value, ``"abs"`` for a difference from it.

    Example:
      >>> import lrtrain
      >>> improvement = lrtrain.Improvement("test_loss", threshold=0.01, threshold_mode="rel")
      >>> improvement.is_better(0.98, 1.0), improvement.is_better(0.995, 1.0)
      (True, False)
      >>> improvement.is_better(7.0, improvement.worst)
      True
    """

    metric: Metric
    mode: Mode = "auto"
    threshold: float = 0.0
    threshold_mode: ThresholdMode = "abs"

    @property
    def sign(self) -> int:
        """The sign of a change for the better: 1 where higher is better, or -1."""
        return 1 if (auto_mode(self.metric) if self.mode == "auto" else self.mode) == "max" else -1

    @property
    def worst(self) -> float:
        """The value that any other is better than, infinite."""
        return -self.sign * math.inf

    def is_better(self, value: float, best: float) -> bool:
        """Returns whether ``value`` is better than ``best`` by more than the threshold; NaN never is."""
        if best == self.worst:
            return not math.isnan(value)
        share = math.copysign(self.threshold, best)
        bar = best * (1 + self.sign * share) if self.threshold_mode == "rel" else best + self.sign * self.threshold
        return self.sign * value > self.sign * bar
