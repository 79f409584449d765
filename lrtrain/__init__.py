"""Train a network under a learning-rate schedule, and tell which schedule is better.

Every public name is imported when it is first used, so ``import lrtrain`` brings in neither JAX nor its libraries.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrtrain.comparing import Comparison as Comparison
    from lrtrain.comparing import compare as compare
    from lrtrain.context import EpochInfo as EpochInfo
    from lrtrain.context import RunInfo as RunInfo
    from lrtrain.context import ScaleLearningRate as ScaleLearningRate
    from lrtrain.context import Schedule as Schedule
    from lrtrain.context import ScheduleContext as ScheduleContext
    from lrtrain.context import StepInfo as StepInfo
    from lrtrain.context import Stop as Stop
    from lrtrain.conv import conv_general_dilated as conv_general_dilated
    from lrtrain.distributed import Distributed as Distributed
    from lrtrain.duration import Duration as Duration
    from lrtrain.errors import LrtrainError as LrtrainError
    from lrtrain.errors import ScheduleError as ScheduleError
    from lrtrain.errors import UsageError as UsageError
    from lrtrain.exporting.api import export as export
    from lrtrain.formula import Piece as Piece
    from lrtrain.hookspecs import hookimpl as hookimpl
    from lrtrain.improvement import Improvement as Improvement
    from lrtrain.improvement import Metric as Metric
    from lrtrain.improvement import Mode as Mode
    from lrtrain.improvement import ThresholdMode as ThresholdMode
    from lrtrain.lr_finder import RangeTest as RangeTest
    from lrtrain.lr_finder import find_lr as find_lr
    from lrtrain.options import Doc as Doc
    from lrtrain.options import LearningRate as LearningRate
    from lrtrain.options import PositiveFloat as PositiveFloat
    from lrtrain.options import PositiveInt as PositiveInt
    from lrtrain.options import Share as Share
    from lrtrain.options import exact as exact
    from lrtrain.schedules import schedule as schedule
    from lrtrain.spec import Spec as Spec
    from lrtrain.training import RunResult as RunResult
    from lrtrain.training import train as train
    from lrtrain.traits import Traits as Traits

_HOME = {
    "Comparison": "comparing",
    "Distributed": "distributed",
    "Doc": "options",
    "Duration": "duration",
    "EpochInfo": "context",
    "Improvement": "improvement",
    "LearningRate": "options",
    "LrtrainError": "errors",
    "Metric": "improvement",
    "Mode": "improvement",
    "Piece": "formula",
    "PositiveFloat": "options",
    "PositiveInt": "options",
    "RangeTest": "lr_finder",
    "RunInfo": "context",
    "RunResult": "training",
    "ScaleLearningRate": "context",
    "Schedule": "context",
    "ScheduleContext": "context",
    "ScheduleError": "errors",
    "Share": "options",
    "Spec": "spec",
    "StepInfo": "context",
    "Stop": "context",
    "ThresholdMode": "improvement",
    "Traits": "traits",
    "UsageError": "errors",
    "compare": "comparing",
    "conv_general_dilated": "conv",
    "exact": "options",
    "export": "exporting.api",
    "find_lr": "lr_finder",
    "hookimpl": "hookspecs",
    "schedule": "schedules",
    "train": "training",
}

__all__ = sorted(_HOME)  # noqa: PLE0605  # one list of the public names, not two


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'lrtrain' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lrtrain.{_HOME[name]}"), name)
