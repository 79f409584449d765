"""The data of a comparison: training examples, validation examples, and a test set that is used once, at the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrain.data.types import drawn
from lrtrain.errors import UsageError

if TYPE_CHECKING:
    from lrtrain.comparison.plan import Plan
    from lrtrain.data import Dataset, Split


@dataclass(frozen=True, eq=False)
class Data:
    """The examples of a comparison.

    Args:
      train: the training examples.
      validation: what tuning and curves are measured on; with the protocol ``"as-is"`` the test set itself.
      test: the test set, used once, after the last step of the trials that are reported.
      num_classes: the number of classes.
      name: the name of the data set.
      identity: what distinguishes the whole data set from other data; see `lrtrain.data.Dataset.identity`.
    """

    train: Split
    validation: Split
    test: Split
    num_classes: int
    name: str
    identity: Mapping[str, Any]


def load_data(plan: Plan) -> Data:
    """Loads the data set of a plan, holds out the validation examples, and keeps ``train_size`` of the others.

    Raises:
      DataError: as `lrtrain.data.load_dataset` does.
      UsageError: the data set has too few examples.
    """
    from lrtrain.data import load_dataset, subset

    config = plan.train
    whole = load_dataset(config.dataset, data_dir=config.data_dir)
    kept, validation = hold_out(whole, plan.holdout, config.seed)
    if config.train_size is not None:
        kept = subset(kept, config.train_size, config.seed)
    config.check_data(len(kept.train))
    return Data(kept.train, validation or whole.test, whole.test, whole.num_classes, whole.name, whole.identity())


def hold_out(dataset: Dataset, examples: int, seed: int) -> tuple[Dataset, Split | None]:
    """Splits off training examples for validation.

    Those of `lrtrain.data.types.drawn`.

    Args:
      dataset: the whole data set.
      examples: the number of examples to hold out; 0 for none.
      seed: the seed of the split.

    Returns:
      The data set without the held-out examples, and these; None where none are.

    Raises:
      UsageError: no training examples would be left.
    """
    if examples == 0:
        return dataset, None
    total = len(dataset.train)
    if examples >= total:
        raise UsageError(
            f"holdout={examples} leaves nothing of the {total} training examples of '{dataset.name}': give fewer"
        )
    held = drawn(total, examples, seed)
    kept = np.delete(np.arange(total), held)
    return dataclasses.replace(dataset, train=dataset.train.part(kept)), dataset.train.part(held)
