"""Train a network under a learning-rate schedule, and find out which schedule is better.

Every public name is imported when it is first used, so ``import lrtrain`` imports neither JAX nor its libraries.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrtrain.comparing import compare as compare
    from lrtrain.comparison.judged import Judged as Judged
    from lrtrain.comparison.result import Comparison as Comparison
    from lrtrain.data.load import load_dataset as load_dataset
    from lrtrain.data.packed import read_packed as read_packed
    from lrtrain.data.types import Dataset as Dataset
    from lrtrain.data.types import Split as Split
    from lrtrain.engine.connection import Distributed as Distributed
    from lrtrain.errors import DataError as DataError
    from lrtrain.errors import LrtrainError as LrtrainError
    from lrtrain.errors import ScheduleError as ScheduleError
    from lrtrain.errors import TrainingError as TrainingError
    from lrtrain.errors import UsageError as UsageError
    from lrtrain.judging import verdict as verdict
    from lrtrain.nn.conv import conv_general_dilated as conv_general_dilated
    from lrtrain.plugins.context import EpochInfo as EpochInfo
    from lrtrain.plugins.context import RunInfo as RunInfo
    from lrtrain.plugins.context import ScaleLearningRate as ScaleLearningRate
    from lrtrain.plugins.context import Schedule as Schedule
    from lrtrain.plugins.context import ScheduleContext as ScheduleContext
    from lrtrain.plugins.context import StepInfo as StepInfo
    from lrtrain.plugins.context import Stop as Stop
    from lrtrain.plugins.context import Traits as Traits
    from lrtrain.plugins.duration import Duration as Duration
    from lrtrain.plugins.formula import Piece as Piece
    from lrtrain.plugins.hookspecs import hookimpl as hookimpl
    from lrtrain.plugins.improvement import Improvement as Improvement
    from lrtrain.plugins.improvement import Metric as Metric
    from lrtrain.plugins.improvement import Mode as Mode
    from lrtrain.plugins.improvement import ThresholdMode as ThresholdMode
    from lrtrain.plugins.options import Doc as Doc
    from lrtrain.plugins.options import LearningRate as LearningRate
    from lrtrain.plugins.options import PositiveFloat as PositiveFloat
    from lrtrain.plugins.options import PositiveInt as PositiveInt
    from lrtrain.plugins.options import PositiveLearningRate as PositiveLearningRate
    from lrtrain.plugins.options import Share as Share
    from lrtrain.plugins.options import exact as exact
    from lrtrain.plugins.spec import Spec as Spec
    from lrtrain.range_test.find_lr import RangeTest as RangeTest
    from lrtrain.range_test.find_lr import find_lr as find_lr
    from lrtrain.schedules.export.api import export as export
    from lrtrain.schedules.table import schedule as schedule
    from lrtrain.training.load import load as load
    from lrtrain.training.train import RunResult as RunResult
    from lrtrain.training.train import train as train
    from lrtrain.training.trained import Trained as Trained
    from lrtrain.verifying import VerifiedLr as VerifiedLr
    from lrtrain.verifying import verify_lr as verify_lr
    from lrtrain.workloads.headline import Headline as Headline
    from lrtrain.workloads.images import ImageClassification as ImageClassification
    from lrtrain.workloads.kinds import Classification as Classification
    from lrtrain.workloads.kinds import NextToken as NextToken
    from lrtrain.workloads.kinds import Regression as Regression
    from lrtrain.workloads.workload import DataContext as DataContext
    from lrtrain.workloads.workload import Defaults as Defaults
    from lrtrain.workloads.workload import Workload as Workload

_NAMES = {
    "comparing": ("compare",),
    "comparison.judged": ("Judged",),
    "comparison.result": ("Comparison",),
    "engine.connection": ("Distributed",),
    "errors": ("DataError", "LrtrainError", "ScheduleError", "TrainingError", "UsageError"),
    "judging": ("verdict",),
    "nn.conv": ("conv_general_dilated",),
    "plugins.context": (
        "EpochInfo",
        "RunInfo",
        "ScaleLearningRate",
        "Schedule",
        "ScheduleContext",
        "StepInfo",
        "Stop",
        "Traits",
    ),
    "plugins.duration": ("Duration",),
    "plugins.formula": ("Piece",),
    "plugins.hookspecs": ("hookimpl",),
    "plugins.improvement": ("Improvement", "Metric", "Mode", "ThresholdMode"),
    "plugins.options": (
        "Doc",
        "LearningRate",
        "PositiveFloat",
        "PositiveInt",
        "PositiveLearningRate",
        "Share",
        "exact",
    ),
    "plugins.spec": ("Spec",),
    "range_test.find_lr": ("RangeTest", "find_lr"),
    "schedules.export.api": ("export",),
    "schedules.table": ("schedule",),
    "training.train": ("RunResult", "train"),
    "training.load": ("load",),
    "training.trained": ("Trained",),
    "data.load": ("load_dataset",),
    "data.packed": ("read_packed",),
    "data.types": ("Dataset", "Split"),
    "verifying": ("VerifiedLr", "verify_lr"),
    "workloads.headline": ("Headline",),
    "workloads.images": ("ImageClassification",),
    "workloads.kinds": ("Classification", "NextToken", "Regression"),
    "workloads.workload": ("DataContext", "Defaults", "Workload"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605  # one list of the public names, not two


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'lrtrain' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lrtrain.{_HOME[name]}"), name)
