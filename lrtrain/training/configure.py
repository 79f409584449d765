"""From the options that a user gives to a whole configuration, and to the workload that it names."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from lrtrain.errors import UsageError
from lrtrain.files import is_path
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
    if chosen.workload.takes_dataset and chosen.workload.dataset is not None:
        own["dataset"] = chosen.workload.dataset
    config = TrainConfig(**{**resolved({**own, **options}), **specs(chosen), **initial_checkpoint(options)})
    config.check()
    check_workload_options(config, chosen, options)
    return config, chosen


def specs(chosen: Chosen) -> dict[str, str | None]:
    """Returns the workload and the model as a configuration holds them."""
    return {"workload": chosen.spec, "model": chosen.model.spec if chosen.model else None}


def check_workload_options(config: TrainConfig, chosen: Chosen, given: Container[str]) -> None:
    """Raises UsageError for an option that the workload does not take."""
    if "dataset" in given or is_path(config.dataset):
        check_takes(chosen, config.dataset)
        check_data_dir(config.dataset, config.data_dir)
    if config.label_smoothing:
        chosen.workload.smoothed(config.label_smoothing)


def check_takes(chosen: Chosen, dataset: str) -> None:
    """Raises UsageError when a workload does not take a data set: a path may be given for any, a name for few."""
    own, said = chosen.workload.train is not None, f"dataset={dataset} is refused: the workload {chosen.name}"
    if not is_path(dataset) and (own or not chosen.workload.takes_dataset):
        raise UsageError(
            f"{said} has data of its own, so leave it out, or give the path of a .npz file or a folder", key="dataset"
        )
    if own:
        raise UsageError(f"{said} was given its examples in Python, so leave one of the two out", key="dataset")


def check_data_dir(dataset: str, data_dir: Path | None) -> None:
    """Raises UsageError when a data set is at a path and a directory is named for those that have a name."""
    if data_dir is not None and is_path(dataset):
        raise UsageError(
            f"data_dir={data_dir} is refused: it is where data sets are prepared that have a name, and {dataset} is a "
            "path; leave it out",
            key="data_dir",
        )
