"""Checks of a workload's data."""

from __future__ import annotations

from lrtrain.testing.failure import require
from lrtrain.testing.processes import ask
from lrtrain.testing.workloads.subject import WorkloadSubject

_CURE = "load the same examples in the same order each time, and draw with a generator of a fixed seed"
_CODE = """
from lrtrain.testing.workloads.examples import digests
from lrtrain.testing.workloads.subject import WorkloadSubject
print(json.dumps(digests(WorkloadSubject(given))))
"""


def data_can_be_used(subject: WorkloadSubject) -> None:
    """Its data are arrays of numbers, equally long, and there are examples to train and to test with."""
    _ = subject.data


def data_is_the_same_each_time(subject: WorkloadSubject) -> None:
    """Loaded again, and in another process, its data has the same digests."""
    first = digests(subject)
    require(digests(subject) == first, f"{subject.title} loaded twice has two sets of data: {_CURE}")
    theirs = ask(_CODE, str(subject.spec), f"the data of {subject.title} is loaded", PYTHONHASHSEED="1")
    require(theirs == first, f"{subject.title} has other data in another process: {_CURE}")


def digests(subject: WorkloadSubject) -> dict[str, str]:
    """Loads the data and returns the digests of its splits."""
    from lrtrain.workloads.check import splits_of

    return {name: split.digest() for name, split in splits_of(subject.load()).items()}
