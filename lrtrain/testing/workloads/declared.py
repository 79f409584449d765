"""Checks of what a workload declares."""

from __future__ import annotations

from lrtrain.errors import LrtrainError
from lrtrain.plugins.options import make
from lrtrain.testing.failure import fail
from lrtrain.testing.workloads.subject import WorkloadSubject
from lrtrain.workloads.loading import check_declared


def is_a_workload(subject: WorkloadSubject) -> None:
    """It is a frozen dataclass, derived from `lrtrain.Workload`, and takes the options that are given."""
    try:
        make(subject.plugin, subject.title, subject.spec.options)
    except LrtrainError as error:
        fail(str(error))


def defaults_are_valid(subject: WorkloadSubject) -> None:
    """Its default options of training are ones that a run may have, and its headline has a direction."""
    check_declared(subject.entry, subject.plugin)
    try:
        subject.config.check()
    except LrtrainError as error:
        fail(f"the defaults of {subject.title} are no options of training: {error}")
