"""`verify_lr`: complete runs around the suggestion of a range test, and the learning rate that they say is best."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrtrain.comparison.conditions import centre_of_grid
from lrtrain.comparison.conduct import tune_plan
from lrtrain.comparison.plan import Effort, Plan, grid
from lrtrain.comparison.reporter import CompareReporter
from lrtrain.comparison.rows import Row
from lrtrain.comparison.tuning_trials import Tuned
from lrtrain.errors import TrainingError
from lrtrain.range_test.find_lr import RangeTest
from lrtrain.workloads.headline import Headline
from lrtrain.workloads.loading import Chosen, choose

_LABEL = "schedule"


@dataclass(frozen=True)
class Point:
    """Runs at one learning rate: the highest of the schedule, and the headline of each run; NaN without a result."""

    learning_rate: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class VerifiedLr:
    """The result of complete runs around a suggestion.

    Args:
      learning_rate: the highest learning rate of the schedule that a curve through the runs says is best.
      scale: the factor on the learning rates of the schedule that makes it so.
      points: the runs, by learning rate in ascending order.
      headline: the number of the validation examples that decides, after the last step.
      on_edge: whether it is the lowest or the highest that was tried.
    """

    learning_rate: float
    scale: float
    points: tuple[Point, ...]
    headline: Headline
    on_edge: bool

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as JSON holds them."""
        from lrtrain.runs.record import finite

        points = [{"learning_rate": each.learning_rate, "values": list(each.values)} for each in self.points]
        values: dict[str, Any] = finite({**vars(self), "points": points, "headline": vars(self.headline)})
        return values


def verify_lr(
    test: RangeTest, *, seeds: int = 1, workload: Chosen | None = None, reporter: CompareReporter | None = None
) -> VerifiedLr:
    """Returns the learning rate that complete runs under the schedule of a range test say is best, near its suggestion.

    It is what the tuning of `lrtrain.compare` does for each schedule: a run at each of five learning rates, a factor of
    two apart, then more around the vertex of a parabola that is fitted to the headline of validation examples after the
    last step. Its files are temporary.

    Args:
      test: the result of `lrtrain.find_lr`, with a suggestion; its ``config`` says how long the runs are.
      seeds: runs at each of the learning rates near the best one.
      workload: the workload, where it was made in Python.
      reporter: receives what happens; None for silence.

    Returns:
      The best learning rate, with the runs.

    Raises:
      UsageError: the schedule is 0 throughout, or its data is streamed.
      TrainingError: there is no suggestion, or no run has a result.

    Example:
      ```python
      import lrtrain

      test = lrtrain.find_lr("sgdr", epochs=2, train_size=2000)
      print(lrtrain.verify_lr(test).learning_rate)
      ```
    """
    scale = test.scale(test.suggestion)
    if scale is None:
        raise TrainingError("the learning rate of the schedule is 0 throughout, so that no factor changes it")
    chosen = workload or choose(test.config.workload, test.config.model)
    # The grid of a comparison is around the learning rate of the workload.
    scale /= centre_of_grid(test.peak, chosen.workload.defaults.learning_rate)
    scales = tuple(scale * factor for factor in grid(5))
    effort = Effort(scales, seeds, 1, test.config.epochs, refine=True, exhaustive=False)
    config = dataclasses.replace(test.config, holdout=None)
    plan = Plan((Row(_LABEL, test.spec),), config, effort=effort, holdout=test.config.holdout, chosen=workload)
    with tempfile.TemporaryDirectory(prefix="lrtrain-verify-") as directory:
        found = tune_plan(plan, Path(directory) / "runs", reporter)
    return _verified(test, found.tuned[_LABEL], found.headline)


def _verified(test: RangeTest, tuned: Tuned, headline: Headline) -> VerifiedLr:
    if tuned.hopeless:
        raise TrainingError("no learning rate around the suggestion has a result: every run diverged or failed")
    points = tuple(
        Point(test.peak * scale, tuple(-headline.sign * cost if np.isfinite(cost) else np.nan for cost in costs))
        for scale, costs in tuned.costs.items()
    )
    return VerifiedLr(test.peak * tuned.best, tuned.best, points, headline, tuned.on_edge)
