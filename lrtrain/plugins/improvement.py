"""When an epoch is better than those before it: what plugins that act on a metric have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from typing_extensions import Doc

Metric = Annotated[
    Literal["test_loss", "train_loss", "test_accuracy"], Doc("what is watched, at the end of every epoch")
]
"""The name of a figure of `lrtrain.EpochInfo`."""
Mode = Annotated[
    Literal["auto", "min", "max"], Doc("whether lower or higher is better; auto: higher for test_accuracy alone")
]
"""Which of two values is better."""
ThresholdMode = Annotated[
    Literal["rel", "abs"], Doc("whether threshold is a share of the best value, or a difference from it")
]
"""What a threshold is a number of."""


@dataclass(frozen=True)
class Improvement:
    r"""The rule for whether a metric is better than the best so far.

    .. math::
        v < b - \text{threshold} \cdot |b| \quad (\text{rel}), \qquad v < b - \text{threshold} \quad (\text{abs})

    and the mirror image of it where higher is better. On a positive best it is PyTorch's arithmetic to the bit. PyTorch
    takes a best for its absolute value, so that a flat negative metric always improves; here it never does.

    Args:
      metric: an attribute of `lrtrain.EpochInfo`; ``"test_accuracy"`` is better when it is higher.
      mode: ``"min"`` or ``"max"`` says which is better whatever the metric; ``"auto"`` leaves it to the metric.
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
        return 1 if self.mode == "max" or (self.mode == "auto" and self.metric == "test_accuracy") else -1

    @property
    def worst(self) -> float:
        """The value that any other is better than, infinite."""
        return -self.sign * math.inf

    def is_better(self, value: float, best: float) -> bool:
        """Returns whether ``value`` is better than ``best`` by more than the threshold; not a number never is."""
        if best == self.worst:
            return not math.isnan(value)
        share = math.copysign(self.threshold, best)
        bar = best * (1 + self.sign * share) if self.threshold_mode == "rel" else best + self.sign * self.threshold
        return self.sign * value > self.sign * bar
