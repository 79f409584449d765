"""GreedyLR, as a plugin of lrtrain."""

from __future__ import annotations

import math
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
    PositiveInt,
    ScaleLearningRate,
    Share,
    ThresholdMode,
    hookimpl,
)


@dataclass(frozen=True)
class Greedy:
    r"""Raises the learning rate while a metric improves, and lowers it when it does not: GreedyLR.

    .. math::
        \eta \leftarrow \begin{cases}
          \min(\eta / \text{factor}, \text{max\_lr}) & \text{more than patience good epochs in a row} \\
          \max(\eta \cdot \text{factor}, \text{min\_lr}) & \text{more than patience bad epochs in a row}
        \end{cases}

    It counts as transformers' ``GreedyLR`` does: an epoch is good when its metric is better than the best so far by
    more than ``threshold``; the count begins anew after each change, and after the ``warmup`` epochs that follow a rise
    or the ``cooldown`` epochs that follow a reduction, in which nothing is counted and the best stays as it was. With
    ``window_size`` over 1 the metric is the mean of that many last epochs.

    Differences: it acts once an epoch, so ``patience`` is 1 (transformers: 10) and the bounds are open (1e-3 and 1);
    the learning rate does not start anew after 500 reductions at ``min_lr``; no change is too small; and ``"rel"``
    takes the absolute value of the best. What counts is computed from the run's history alone, so it is the same after
    a resume. The new learning rate holds from the next epoch on, as a factor on whatever the schedule says; the bounds
    are compared with the last learning rate of the epoch.

    Raises:
      OptionError: ``factor`` is 0 or 1, or ``min_lr`` is over ``max_lr``.

    Example:
      >>> import lrtrain
      >>> def epochs(losses):
      ...     return [lrtrain.EpochInfo(i, 235 * (i + 1), loss, loss, 0.5, 0.1, 9.0) for i, loss in enumerate(losses)]
      >>> rule = Greedy(factor=0.5, patience=1)
      >>> rule.on_epoch_end(epochs([0.9, 0.8]))
      ScaleLearningRate(factor=2.0)
      >>> rule.on_epoch_end(epochs([0.9, 0.8, 0.8, 0.8]))
      ScaleLearningRate(factor=0.5)

    Reference: GreedyLR: A Novel Adaptive Learning Rate Scheduler, arXiv 2512.14527; `transformers.GreedyLR`.
    """

    metric: Metric = "test_loss"
    mode: Mode = "auto"
    factor: Annotated[Share, Doc("what the learning rate is multiplied or divided by; over 0 and under 1")] = 0.95
    patience: Annotated[int, Ge(0), Doc("good or bad epochs in a row that are let pass; the next one acts")] = 1
    threshold: Annotated[float, Ge(0), Doc("how much better than the best an epoch must be to be good")] = 1e-6
    threshold_mode: ThresholdMode = "abs"
    cooldown: Annotated[int, Ge(0), Doc("epochs after a reduction in which nothing is counted")] = 0
    warmup: Annotated[int, Ge(0), Doc("epochs after a rise in which nothing is counted")] = 0
    min_lr: Annotated[LearningRate, Doc("learning rate under which none is lowered")] = 0.0
    max_lr: Annotated[LearningRate | None, Doc("learning rate over which none is raised; none: no bound")] = None
    window_size: Annotated[PositiveInt, Doc("epochs whose mean is the metric; 1: no smoothing")] = 1

    def __post_init__(self) -> None:
        """Refuses a factor that has no inverse or changes nothing, and bounds that exclude each other."""
        if self.factor in (0, 1):
            raise ValueError(f"factor={self.factor:g} is refused: expected number > 0 and < 1")
        if self.max_lr is not None and self.min_lr > self.max_lr:
            raise ValueError(f"min_lr={self.min_lr:g} is over max_lr={self.max_lr:g}: give a lower one")

    @hookimpl
    def on_epoch_end(self, history: Sequence[EpochInfo]) -> ScaleLearningRate | None:
        """Asks for another learning rate if the epoch that has just ended is one good or bad epoch too many."""
        rate = history[-1].learning_rate
        change = self._change(self._smoothed([getattr(epoch, self.metric) for epoch in history]))
        highest = math.inf if self.max_lr is None else self.max_lr
        if change < 0 and rate > self.min_lr:
            return ScaleLearningRate(max(self.factor, self.min_lr / rate))
        if change > 0 and 0 < rate < highest:
            return ScaleLearningRate(min(1 / self.factor, highest / rate))
        return None

    def _smoothed(self, values: Sequence[float]) -> list[float]:
        windows = [values[max(0, end - self.window_size) : end] for end in range(1, len(values) + 1)]
        return [math.fsum(window) / len(window) for window in windows]

    def _change(self, values: Sequence[float]) -> int:
        """Returns what the last of the values, one an epoch, asks for: 1 for a rise, -1 for a reduction, 0 else."""
        improvement = Improvement(self.metric, self.mode, self.threshold, self.threshold_mode)
        best, run, waiting, change = improvement.worst, 0, 0, 0
        for value in values:
            change = 0
            if waiting > 0:
                waiting -= 1
                continue
            # Good epochs count upwards and bad ones downwards; a change of direction begins anew.
            if improvement.is_better(value, best):
                best, run = value, max(run, 0) + 1
            else:
                run = min(run, 0) - 1
            if abs(run) > self.patience:
                change, run = (1, 0) if run > 0 else (-1, 0)
                waiting = self.warmup if change > 0 else self.cooldown
        return change
