"""What the examples and the loss of a workload are called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lrtrain.errors import SpecError
from lrtrain.files import is_path
from lrtrain.plugins.discovery import DEFAULT_WORKLOAD
from lrtrain.plugins.spec import Spec, normal_name


@dataclass(frozen=True)
class Wording:
    """What the examples and the loss are called, the titles of axes of losses, and the unit of training speed."""

    examples: str
    loss: str
    loss_axis: str
    training_axis: str
    speed: str


_IMAGES = Wording(
    "images", "cross-entropy", "loss (mean cross-entropy)", "training loss (cross-entropy, mean per example)", "img/s"
)
_EXAMPLES = Wording("examples", "loss", "loss (mean per example)", "training loss (mean per example)", "examples/s")


def wording(workloads: Iterable[str]) -> Wording:
    """Returns the words that are right for workloads, each as a configuration has it; the default has images."""
    return _IMAGES if all(workload == DEFAULT_WORKLOAD for workload in workloads) else _EXAMPLES


def title_of(workload: str, dataset: str) -> str:
    """Returns what is trained on in a few words: the data set of the default workload, or another one's name."""
    if workload == DEFAULT_WORKLOAD:
        return Path(dataset).name if is_path(dataset) else dataset
    try:
        return normal_name(Spec.of(workload).name)
    except SpecError:
        # One that was made in Python, as `lrtrain.workloads.loading.Chosen` notes it.
        return workload.removeprefix("python:")
