"""What a workload is. This file is the documentation of its methods.

A workload is a frozen dataclass, derived from `Workload` or from one of `lrtrain.workloads.kinds`; an entry point in
the group ``lrtrain.workloads`` names it. Its docstring is its documentation and its fields are its options.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lrtrain.data.in_memory import dataset_in_memory
from lrtrain.data.types import Dataset
from lrtrain.errors import UsageError
from lrtrain.workloads.headline import Headline

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    import jax

    from lrtrain.data.source import DatasetSource

# The fields of every workload that hold its data and its network: they are given in Python, and are no options.
IN_PYTHON = {"option": False}


@dataclass(frozen=True)
class Defaults:
    """The options of training that suit a workload; what a user gives takes precedence.

    Args:
      epochs: passes over the training set.
      batch_size: examples in a step.
      optimizer: the optimizer, as ``--optimizer`` takes it.
      weight_decay: how much of each weight is added to its gradient, as ``--weight-decay`` says.
      loss_reduction: ``"sum"`` or ``"mean"``: which of a batch's losses the gradient is taken of.
      learning_rate: the peak that suits it. The schedules' own defaults are made for a peak of about 1e-4 with a summed
        loss, and are multiplied by ``learning_rate / 1e-4``.
    """

    epochs: int = 10
    batch_size: int = 256
    optimizer: str = "sgd"
    loss_reduction: Literal["sum", "mean"] = "sum"
    learning_rate: float = 1e-4
    weight_decay: float = 0.0


@dataclass(frozen=True)
class DataContext:
    """What the user says about the data.

    Args:
      dataset: the data set of ``--dataset``; None where none is named.
      data_dir: the directory of ``--data-dir``, in which data sets are prepared; None where none is named.
    """

    dataset: str | None = None
    data_dir: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is trained.

    Args:
      model: the network: a Flax Linen module, or a function of ``flax.nnx.Rngs`` (a class, say) that returns an nnx
        module; None where `network` makes it.
      train: the training examples, ``(inputs, targets)`` or a ``datasets.Dataset`` of Hugging Face; None where `data`
        loads them.
      test: the test examples, likewise.
      validation: the validation examples; None to hold some of the training examples out where they are needed.
    """

    defaults: ClassVar[Defaults] = Defaults()
    headline: ClassVar[Headline] = Headline()
    takes_dataset: ClassVar[bool] = False
    """Whether ``--dataset`` may name other data for it; a path may be given for any workload."""
    dataset: ClassVar[str | None] = None
    """The data set that it takes where the user names none, of those that ``--dataset`` can name."""
    has_classes: ClassVar[bool] = False
    """Whether the targets are labels, and the last axis of the network's outputs is that of the classes."""

    model: Any = field(default=None, metadata=IN_PYTHON)
    train: Any = field(default=None, compare=False, repr=False, metadata=IN_PYTHON)
    test: Any = field(default=None, compare=False, repr=False, metadata=IN_PYTHON)
    validation: Any = field(default=None, compare=False, repr=False, metadata=IN_PYTHON)

    def data(self, context: DataContext) -> Dataset:
        """Returns the examples: of arrays whose first axis is the example, of any shape and type.

        When: once, before training. The same examples in the same order each time; nothing is downloaded.
        """
        if self.train is None or self.test is None:
            raise UsageError(
                f"the workload {type(self).__name__} has no data: give train=(inputs, targets) and test=(inputs, "
                "targets), the path of a data set, or a method data"
            )
        return dataset_in_memory({"train": self.train, "test": self.test, "validation": self.validation})

    def source(self, context: DataContext) -> Dataset | DatasetSource:
        """Returns where the examples come from, if that is a data set to be loaded or streamed; else the examples."""
        return self.data(context)

    def network(self, data: Dataset) -> Any:
        """Returns the network for the data: a Flax Linen module, or a function of ``flax.nnx.Rngs``.

        An argument of its ``__call__`` with one of the names ``train``, ``training``, ``deterministic`` or
        ``use_running_average`` tells it whether it is trained or evaluated.
        """
        if self.model is None:
            raise UsageError(f"the workload {type(self).__name__} has no network: give model=..., or a method network")
        return self.model

    def inputs(self, raw: Any) -> Any:
        """Maps a batch of raw inputs, as `data` has them, to what the network is given; on the device."""
        return raw

    def augment(self, raw: Any, key: jax.Array) -> Any:
        """Maps the raw inputs of one example to others, at random; in training only, on the device.

        The key is a function of the seed, the epoch and the example, so the result is the same after a resume, on any
        number of devices and in any micro-batch. Without this method nothing is changed.
        """
        return raw

    def loss(self, outputs: Any, targets: Any) -> jax.Array:
        """Returns the loss of each example, float32[batch], from what the network returns for a batch."""
        raise UsageError(
            f"the workload {type(self).__name__} has no loss: give a method loss, or derive it from a kind with one, "
            "such as lrtrain.Classification"
        )

    def training_loss(self, outputs: Any, targets: Any) -> jax.Array:
        """Returns the loss of each example whose gradient is taken, where that is another one than `loss`."""
        return self.loss(outputs, targets)

    def metrics(self, outputs: Any, targets: Any) -> Mapping[str, jax.Array]:
        """Returns further measures of each example, float32[batch], by name; their means are reported."""
        return {}

    def rules(self) -> Self:
        """Returns the workload without its data and its network: all that the compiled program needs of it."""
        return dataclasses.replace(self, model=None, train=None, test=None, validation=None)

    def guess(self, targets: Any) -> float | None:
        """Returns the mean loss of the best answer that is the same for all examples; None where it is not known."""
        return None

    def guesses(self, targets: Any) -> Mapping[str, float]:
        """Returns the mean loss and metrics of the best answer that is the same for all, as far as they are known."""
        guess = self.guess(targets)
        return {} if guess is None else {"loss": guess}

    def smoothed(self, share: float) -> Self:
        """Returns the workload with that share of each label spread over all classes, in training."""
        raise UsageError(
            f"label_smoothing={share} is refused: the targets of the workload {type(self).__name__} are no classes"
        )
