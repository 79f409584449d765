"""The rule that lowers the learning rate on a plateau, as a plugin of lrtrain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from lrtrain import Doc, EpochInfo, LearningRate, ScaleLearningRate, Share, hookimpl


@dataclass(frozen=True)
class ReduceOnPlateau:
    r"""Lowers the learning rate each time a metric has not improved for more than ``patience`` epochs.

    .. math::
        \eta \leftarrow \max(\text{factor} \cdot \eta, \text{min\_lr})

    It counts as PyTorch does: the epoch after ``patience`` bad ones is the one that lowers the learning rate (optax
    lowers it one epoch earlier), and the count begins anew, after ``cooldown`` epochs in which nothing is counted. An
    epoch is better than the best so far, in ``"min"`` mode, when its metric is below ``best - threshold * abs(best)``
    (``"rel"``) or ``best - threshold`` (``"abs"``). PyTorch takes ``best`` for its absolute value, so that a flat
    negative metric always improves; here it never does.

    What counts is computed from the run's history alone, so it is the same after a resume. The new learning rate holds
    from the next epoch on, as a factor on whatever the schedule says; ``min_lr`` is compared with the last learning
    rate of the epoch, so a schedule that falls further may go below it.

    Raises:
      OptionError: ``factor`` is 0 or 1.

    Example:
      >>> import lrtrain
      >>> def epochs(losses):
      ...     return [lrtrain.EpochInfo(i, 235 * (i + 1), loss, loss, 0.5, 0.1, 9.0) for i, loss in enumerate(losses)]
      >>> rule = ReduceOnPlateau(factor=0.5, patience=1)
      >>> rule.on_epoch_end(epochs([0.9, 0.8, 0.8]))
      >>> rule.on_epoch_end(epochs([0.9, 0.8, 0.8, 0.8]))
      ScaleLearningRate(factor=0.5)

    Reference: `torch.optim.lr_scheduler.ReduceLROnPlateau`.
    """

    metric: Annotated[
        Literal["test_loss", "train_loss", "test_accuracy"], Doc("what is watched, at the end of every epoch")
    ] = "test_loss"
    mode: Annotated[
        Literal["auto", "min", "max"], Doc("whether lower or higher is better; auto: higher for test_accuracy alone")
    ] = "auto"
    factor: Annotated[Share, Doc("what the learning rate is multiplied by; over 0 and under 1")] = 0.1
    patience: Annotated[int, Ge(0), Doc("bad epochs that are let pass; the next one lowers the learning rate")] = 2
    threshold: Annotated[float, Ge(0), Doc("how much better than the best an epoch must be to count as better")] = 1e-4
    threshold_mode: Annotated[
        Literal["rel", "abs"], Doc("whether threshold is a share of the best value, or a difference from it")
    ] = "rel"
    cooldown: Annotated[int, Ge(0), Doc("epochs after a reduction in which bad ones are not counted")] = 0
    min_lr: Annotated[LearningRate, Doc("learning rate under which none is lowered")] = 0.0

    def __post_init__(self) -> None:
        """Refuses a factor that would end all learning, or change nothing."""
        if self.factor in (0, 1):
            raise ValueError(f"factor={self.factor:g} is refused: expected number > 0 and < 1")

    @hookimpl
    def on_epoch_end(self, history: Sequence[EpochInfo]) -> ScaleLearningRate | None:
        """Asks for a lower learning rate if the epoch that has just ended is one bad epoch too many."""
        rate = history[-1].learning_rate
        if rate <= self.min_lr or not self._is_due([getattr(epoch, self.metric) for epoch in history]):
            return None
        return ScaleLearningRate(max(self.factor, self.min_lr / rate))

    def _is_due(self, values: Sequence[float]) -> bool:
        """Tells whether the last of the values, one an epoch, is the one that lowers the learning rate."""
        best, bad, cooldown, due = -self._sign * math.inf, 0, 0, False
        for value in values:
            if self._is_better(value, best):
                best, bad = value, 0
            else:
                bad += 1
            if cooldown > 0:
                cooldown, bad = cooldown - 1, 0
            due = bad > self.patience
            if due:
                cooldown, bad = self.cooldown, 0
        return due

    @property
    def _sign(self) -> int:
        higher = self.mode == "max" or (self.mode == "auto" and self.metric == "test_accuracy")
        return 1 if higher else -1

    def _is_better(self, value: float, best: float) -> bool:
        if math.isinf(best):
            return True
        # A negative best is to be beaten by a share of its size too; else this is PyTorch's arithmetic to the bit.
        share = math.copysign(self.threshold, best)
        bar = best * (1 + self._sign * share) if self.threshold_mode == "rel" else best + self._sign * self.threshold
        return self._sign * value > self._sign * bar
