"""From the options that a user gives to a whole configuration, and to the workload that it names."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from lrtrain.errors import UsageError
from lrtrain.plugins.discovery import DEFAULT_WORKLOAD
from lrtrain.runs.train_config import WORKLOADS_OWN, TrainConfig, resolved
from lrtrain.workloads.loading import Chosen, load_workload


def configured(options: Mapping[str, Any]) -> tuple[TrainConfig, Chosen]:
    """Returns the options of training, those that are not given as the workload has them, and the workload.

    Raises:
      UsageError: a value is one that no run can have.
    """
    chosen = load_workload(options.get("workload", DEFAULT_WORKLOAD))
    defaults = vars(chosen.workload.defaults)
    own = {name: defaults[name] for name in WORKLOADS_OWN}
    config = TrainConfig(**{**resolved({**own, **options}), "workload": chosen.spec})
    config.check()
    check_workload_options(config, chosen, options)
    return config, chosen


def check_workload_options(config: TrainConfig, chosen: Chosen, given: Container[str]) -> None:
    """Raises UsageError for an option that the workload does not take."""
    if "dataset" in given and not chosen.workload.takes_dataset:
        raise UsageError(
            f"dataset={config.dataset} is refused: the workload {chosen.name} has data of its own, so leave it out",
            key="dataset",
        )
    if config.label_smoothing:
        chosen.workload.smoothed(config.label_smoothing)
