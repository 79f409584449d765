"""Checks of what a workload declares."""

from __future__ import annotations

import math
from typing import get_args, get_type_hints

from lrtrain.errors import LrtrainError
from lrtrain.testing.failure import fail, require
from lrtrain.testing.workloads.subject import WorkloadSubject
from lrtrain.workloads.headline import Headline


def is_a_workload(subject: WorkloadSubject) -> None:
    """It is a frozen dataclass, derived from `lrtrain.Workload`, and takes the options that are given."""
    try:
        _ = subject.plugin, subject.workload
    except LrtrainError as error:
        fail(str(error))


def defaults_are_valid(subject: WorkloadSubject) -> None:
    """Its default options of training are ones that a run may have, and its headline has a direction."""
    defaults, headline = subject.workload.defaults, subject.workload.headline
    try:
        subject.config.check()
    except LrtrainError as error:
        fail(f"the defaults of {subject.title} are no options of training: {error}")
    rate = defaults.learning_rate
    usable = isinstance(rate, int | float) and math.isfinite(rate) and rate > 0
    require(usable, f"the default learning rate of {subject.title} is {rate!r}: expected a number over 0")
    modes = get_args(get_type_hints(Headline)["mode"])
    known = headline.mode in modes
    require(known, f"the headline of {subject.title} has mode={headline.mode!r}: expected {' or '.join(modes)}")
