"""The rule that lowers the learning rate on a plateau, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from lrtrain import (
    Doc,
    EpochInfo,
    Improvement,
    LearningRate,
    Metric,
    Mode,
    ScaleLearningRate,
    Share,
    ThresholdMode,
    hookimpl,
)


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

    metric: Metric = "test_loss"
    mode: Mode = "auto"
    factor: Annotated[Share, Doc("what the learning rate is multiplied by; over 0 and under 1")] = 0.1
    patience: Annotated[int, Ge(0), Doc("bad epochs that are let pass; the next one lowers the learning rate")] = 2
    threshold: Annotated[float, Ge(0), Doc("how much better than the best an epoch must be to count as better")] = 1e-4
    threshold_mode: ThresholdMode = "rel"
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
        improvement = Improvement(self.metric, self.mode, self.threshold, self.threshold_mode)
        best, bad, cooldown, due = improvement.worst, 0, 0, False
        for value in values:
            if improvement.is_better(value, best):
                best, bad = value, 0
            else:
                bad += 1
            if cooldown > 0:
                cooldown, bad = cooldown - 1, 0
            due = bad > self.patience
            if due:
                cooldown, bad = self.cooldown, 0
        return due
