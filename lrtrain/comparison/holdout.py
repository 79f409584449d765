"""The data of a comparison: what is learned from, what decides, and what is looked at once, at the end."""

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
      train: to learn from.
      validation: what tuning and curves are measured on; the test set itself with the protocol ``"as-is"``.
      test: looked at once, after the last step of the measured runs.
      num_classes: how many classes there are.
      name: of the data set.
      identity: what distinguishes the whole data set from other data, as `lrtrain.data.Dataset.identity` has it.
    """

    train: Split
    validation: Split
    test: Split
    num_classes: int
    name: str
    identity: Mapping[str, Any]


def load_data(plan: Plan) -> Data:
    """Loads the data set of a plan, holds out its validation examples, and takes ``train_size`` of the others.

    Raises:
      DataError: as `lrtrain.data.load_dataset` does.
      UsageError: there are too few examples.
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
    """Takes some training examples away, for validation.

    Which ones says `lrtrain.data.types.drawn`.

    Args:
      dataset: the whole data set.
      examples: how many; 0 for none.
      seed: decides which.

    Returns:
      The data set without them, and they.

    Raises:
      UsageError: nothing would be left to learn from.
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
