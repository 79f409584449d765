"""What a user asks for, as one value: checked before anything is imported that takes time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from lrtrain.engine.optimizers import OPTIMIZERS, as_before, canonical
from lrtrain.errors import UsageError
from lrtrain.files import has_utf8_name, is_path
from lrtrain.option_fields import option, option_fields
from lrtrain.plugins.discovery import DEFAULT_WORKLOAD, absolute
from lrtrain.plugins.spec import parse_spec

LOSS_REDUCTIONS = ("sum", "mean")
PRECISIONS = ("float32", "bf16")
DATA_ON_DEVICE = ("auto", "always", "never")
# The options whose defaults are the workload's.
WORKLOADS_OWN = ("epochs", "batch_size", "optimizer", "loss_reduction", "weight_decay")
DEFAULT_DATASET = "fashion_mnist"
MAX_EPOCHS = 1_000_000
MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class TrainConfig:
    """Everything about a run but its plugins and its directory.

    Each field is an option of ``lrtrain train``, ``compare`` and ``find-lr``, of the functions of these names, of a
    comparison's TOML file and of ``config.json``, unless it says ``in_comparisons=False``; `TrainOptions` says its type
    once more, for type checkers.
    """

    epochs: int = option(10, "Passes over the training set.", least=1, most=MAX_EPOCHS)
    batch_size: int = option(
        256, "Examples in a step; the last batch of an epoch may be smaller.", metavar="N", least=1
    )
    optimizer: str = option(
        "sgd",
        "The optimizer: sgd, 'adamw(weight_decay=0.05)', any of optax's by name, with its options, or a function in a "
        "file, ./file.py:make. Weight decay leaves out biases and scales; mask=none includes them.",
        metavar="SPEC",
        known=OPTIMIZERS,
    )
    loss_reduction: str = option(
        "sum",
        "Gradient of the sum or the mean of a batch's losses. With sum, a learning rate acts as if it were "
        "--batch-size times as large as with mean; the defaults of the plugins are made for sum.",
        choices=LOSS_REDUCTIONS,
    )
    seed: int = option(
        0, "Decides the initial weights, the order of the examples and --train-size.", least=0, most=MAX_SEED
    )
    workload: str = option(
        DEFAULT_WORKLOAD, "What is trained: data, network, loss; 'lrtrain workloads list' shows all.", metavar="SPEC"
    )
    dataset: str = option(
        DEFAULT_DATASET,
        "A data set of a package, or any of tensorflow-datasets that is prepared; or a path: ./arrays.npz, or a folder "
        "of images by class.",
        metavar="NAME|PATH",
    )
    data_dir: Path | None = option(None, "Where data sets are prepared.", metavar="DIR", changes_results=False)
    train_size: int | None = option(None, "Train on N examples, drawn by the seed.", metavar="N", least=1)
    shuffle: bool = option(True, "Go through the data in file order in every epoch.")
    devices: int | None = option(
        None, "Number of devices; on CPU a core is a device.", metavar="N", least=1, changes_results=False
    )
    micro_batch: int | None = option(
        None, "Most examples that a device takes at once.", metavar="N", least=1, changes_results=False
    )
    model: str | None = option(
        None, "A Flax module in place of the workload's network: ./nets.py:Net, or 'nets:Net(width=3)'.", metavar="SPEC"
    )
    label_smoothing: float = option(
        0.0, "Share of each label that is spread over all classes, in training.", metavar="SHARE", least=0, most=1
    )
    weight_decay: float = option(
        0.0, "Add so much of each weight to its gradient; not of biases and scales.", metavar="FACTOR", least=0
    )
    clip_norm: float | None = option(
        None, "Scale a gradient down whose norm over all parameters is larger.", metavar="NORM", least=0
    )
    accumulate: int = option(
        1,
        "Parts that a step takes one after another; batch statistics are of a part.",
        metavar="N",
        least=1,
    )
    ema: float | None = option(
        None,
        "Decay of a moving average of the parameters, which is evaluated in their place.",
        metavar="DECAY",
        least=0,
        most=1,
    )
    holdout: int | None = option(
        None,
        "Hold N training examples out, drawn by the seed: epochs are measured on them, and the test set is used once, "
        "at the end.",
        metavar="N",
        least=0,
        in_comparisons=False,
    )
    init_from: str | None = option(
        None,
        "Begin with the parameters of a run's best checkpoint, or of the checkpoint in a directory.",
        metavar="RUN",
        in_comparisons=False,
    )
    precision: str = option(
        "float32",
        "In what the network computes; with bf16 the parameters, the loss and the updates stay float32.",
        choices=PRECISIONS,
    )
    data_on_device: str = option(
        "auto",
        "Keep the training set on the devices, or stream its batches; auto keeps it where it fits.",
        choices=DATA_ON_DEVICE,
        changes_results=False,
        in_comparisons=False,
    )

    def __post_init__(self) -> None:
        if isinstance(self.data_dir, str):
            object.__setattr__(self, "data_dir", Path(self.data_dir))

    def check(self) -> None:
        """Raises UsageError for the first value that no run can have."""
        for field in option_fields(TrainConfig):
            field.check(getattr(self, field.name))
        with _as_optimizer():
            parse_spec(self.optimizer)

    def check_data(self, num_examples: int) -> None:
        """Raises UsageError when a batch is larger than the training set."""
        if self.batch_size > num_examples:
            raise UsageError(
                f"batch_size={self.batch_size} is more than the {num_examples} training examples: give at most that"
            )

    def steps_per_epoch(self, num_examples: int) -> int:
        """Returns the optimizer updates in an epoch; a last, smaller batch is one too."""
        return math.ceil(num_examples / self.batch_size)

    def read_as_before(self) -> None:
        """Gives an optimizer that an earlier lrtrain stored its canonical text; for a value just read from a file."""
        # Without another text nothing is set: what the file lacks is no attribute of what was read.
        if (text := as_before(self.optimizer)) != self.optimizer:
            object.__setattr__(self, "optimizer", text)

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as JSON holds them."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}


@contextlib.contextmanager
def _as_optimizer() -> Iterator[None]:
    """Gives an error the key under which it can be found in a file."""
    try:
        yield
    except UsageError as error:
        error.key = "optimizer"
        raise


class ComparedOptions(TypedDict, total=False):
    """The fields of `TrainConfig`, where they are described, as options of a comparison that may be left out."""

    epochs: int
    batch_size: int
    optimizer: str
    loss_reduction: str
    seed: int
    workload: Any
    dataset: str
    data_dir: Path | None
    train_size: int | None
    shuffle: bool
    devices: int | None
    micro_batch: int | None
    model: Any
    label_smoothing: float
    weight_decay: float
    clip_norm: float | None
    accumulate: int
    ema: float | None
    precision: str
    data_on_device: str


class TrainOptions(ComparedOptions, total=False):
    """The same with those that only a single run has."""

    holdout: int | None
    init_from: str | None


def resolved(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a user's options with the canonical text of the optimizer, and a path of data made absolute.

    Those that are given to `TrainConfig` without it have optax's meaning, such as weight decay without a mask. Raises
    UsageError when one of the two is refused.
    """
    if "dataset" in options:
        options = {**options, "dataset": path_or_name(options["dataset"])}
    if "optimizer" not in options:
        return {**options}
    TrainConfig(optimizer=options["optimizer"]).check()
    with _as_optimizer():
        return {**options, "optimizer": canonical(options["optimizer"])}


def path_or_name(dataset: Any) -> Any:
    """Returns the absolute path of data that is given as a path; any other value as it is.

    Raises UsageError for a path that `config.json` cannot hold.
    """
    if not isinstance(dataset, Path) and not (isinstance(dataset, str) and is_path(dataset)):
        return dataset
    path = absolute(dataset)
    if not has_utf8_name(path):
        raise UsageError(f"dataset={str(path)!r} is refused: its path is not UTF-8, so rename it", key="dataset")
    return str(path)
