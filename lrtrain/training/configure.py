"""From the options that a user gives to a whole configuration, and to the workload that it names."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from lrtrain.errors import UsageError
from lrtrain.plugins.discovery import DEFAULT_WORKLOAD
from lrtrain.runs.train_config import WORKLOADS_OWN, TrainConfig, resolved
from lrtrain.training.initial import initial_checkpoint
from lrtrain.workloads.loading import Chosen, choose


def configured(options: Mapping[str, Any]) -> tuple[TrainConfig, Chosen]:
    """Returns the options of training, those that are not given as the workload has them, and the workload.

    Raises:
      UsageError: a value is one that no run can have.
    """
    chosen = choose(options.get("workload", DEFAULT_WORKLOAD), options.get("model"))
    defaults = vars(chosen.workload.defaults)
    own = {name: defaults[name] for name in WORKLOADS_OWN}
    config = TrainConfig(**{**resolved({**own, **options}), **specs(chosen), **initial_checkpoint(options)})
    config.check()
    check_workload_options(config, chosen, options)
    return config, chosen


def specs(chosen: Chosen) -> dict[str, str | None]:
    """Returns the workload and the model as a configuration holds them."""
    return {"workload": chosen.spec, "model": chosen.model.spec if chosen.model else None}


def check_workload_options(config: TrainConfig, chosen: Chosen, given: Container[str]) -> None:
    """Raises UsageError for an option that the workload does not take."""
    if "dataset" in given and not chosen.workload.takes_dataset:
        raise UsageError(
            f"dataset={config.dataset} is refused: the workload {chosen.name} has data of its own, so leave it out",
            key="dataset",
        )
    if config.label_smoothing:
        chosen.workload.smoothed(config.label_smoothing)
