"""What a user asks for, as one value: checked before anything is imported that takes time."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from lrtrain.engine.optimizers import OPTIMIZERS
from lrtrain.errors import UsageError, nearest

LOSS_REDUCTIONS = ("sum", "mean")
DATA_ON_DEVICE = ("auto", "always", "never")
MAX_EPOCHS = 1_000_000


@dataclass(frozen=True)
class TrainConfig:
    """Everything about a run but its plugins and its directory.

    Args:
      epochs: passes over the training set.
      batch_size: examples in a step; the last batch of an epoch may be smaller.
      optimizer: one of `lrtrain.engine.optimizers.OPTIMIZERS`.
      loss_reduction: the gradient is of the ``"sum"`` or the ``"mean"`` of the losses of a batch. With ``"sum"`` a
        learning rate acts as if it were ``batch_size`` times as large as with ``"mean"``.
      seed: decides the initial parameters, the order of the examples, and which ones ``train_size`` takes.
      dataset: a data set that a package brings, or one of tensorflow-datasets that has been prepared.
      data_dir: where data sets are prepared; None for the default.
      train_size: number of training examples to use; None for all.
      shuffle: whether each epoch has an order of its own; else every epoch goes through the data in file order.
      devices: number of devices; None for the best number.
      micro_batch: largest number of examples that a device takes at once; None for the best number.
      model: ``package.module:Class`` of a Flax module; None for the tutorial's network.
      data_on_device: whether the training set is kept on the devices (``"always"``) or its batches are streamed from
        the files (``"never"``); with ``"auto"`` it is kept where it fits. It changes no result.
    """

    epochs: int = 10
    batch_size: int = 256
    optimizer: str = "sgd"
    loss_reduction: str = "sum"
    seed: int = 0
    dataset: str = "fashion_mnist"
    data_dir: Path | None = None
    train_size: int | None = None
    shuffle: bool = True
    devices: int | None = None
    micro_batch: int | None = None
    model: str | None = None
    data_on_device: str = "auto"

    def __post_init__(self) -> None:
        if isinstance(self.data_dir, str):
            object.__setattr__(self, "data_dir", Path(self.data_dir))

    def check(self) -> None:
        """Raises UsageError for the first value that no run can have."""
        for name in ("epochs", "batch_size"):
            _at_least(name, getattr(self, name), 1)
        for name in ("train_size", "devices", "micro_batch"):
            if getattr(self, name) is not None:
                _at_least(name, getattr(self, name), 1)
        _at_least("seed", self.seed, 0)
        if self.epochs > MAX_EPOCHS or self.seed >= 2**32:
            raise UsageError(
                f"epochs={self.epochs} and seed={self.seed}: at most {MAX_EPOCHS} and {2**32 - 1} are taken"
            )
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("loss_reduction", self.loss_reduction, LOSS_REDUCTIONS)
        _one_of("data_on_device", self.data_on_device, DATA_ON_DEVICE)

    def check_data(self, num_examples: int) -> None:
        """Raises UsageError when a batch is larger than the training set."""
        if self.batch_size > num_examples:
            raise UsageError(
                f"batch_size={self.batch_size} is more than the {num_examples} training examples: give at most that"
            )

    def steps_per_epoch(self, num_examples: int) -> int:
        """Returns the optimizer updates in an epoch; a last, smaller batch is one too."""
        return math.ceil(num_examples / self.batch_size)

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as JSON holds them."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainConfig:
        """Returns the configuration that `to_json` wrote; fields that it does not know are left out."""
        known = {field.name for field in dataclasses.fields(cls)}
        kept = {name: value for name, value in values.items() if name in known}
        if kept.get("data_dir") is not None:
            kept["data_dir"] = Path(kept["data_dir"])
        return cls(**kept)


def _at_least(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{name}={value} is refused: expected a whole number, at least {least}")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{name}={value} is refused{nearest(str(value), known)}: expected one of {', '.join(known)}")


class TrainOptions(TypedDict, total=False):
    """The fields of `TrainConfig`, where they are described, as options that may be left out."""

    epochs: int
    batch_size: int
    optimizer: str
    loss_reduction: str
    seed: int
    dataset: str
    data_dir: Path | None
    train_size: int | None
    shuffle: bool
    devices: int | None
    micro_batch: int | None
    model: str | None
    data_on_device: str
