"""The data of a comparison: training examples, validation examples, and a test set that is used once, at the end."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from lrtrain.comparison.plan import Plan
from lrtrain.data import Dataset, Split, load_dataset, subset
from lrtrain.data.types import drawn
from lrtrain.errors import UsageError


@dataclass(frozen=True, eq=False)
class Data(Dataset):
    """The examples of a comparison: the test set is used once, after the last step of the trials that are reported.

    Args:
      validation: what tuning and curves are measured on; with the protocol ``"as-is"`` the test set itself.
    """

    validation: Split


def load_data(plan: Plan) -> Data:
    """Loads the data set of a plan, holds out the validation examples, and keeps ``train_size`` of the others.

    Raises UsageError when the data set has too few examples, and DataError when it cannot be loaded.
    """
    config = plan.train
    whole = load_dataset(config.dataset, data_dir=config.data_dir)
    kept, validation = hold_out(whole, plan.holdout, config.seed)
    if config.train_size is not None:
        kept = subset(kept, config.train_size, config.seed)
    config.check_data(len(kept.train))
    return Data(**vars(kept), validation=validation or whole.test)


def hold_out(dataset: Dataset, examples: int, seed: int) -> tuple[Dataset, Split | None]:
    """Returns a data set without some training examples (`lrtrain.data.types.drawn`), and these; None where none are.

    Raises UsageError when no training examples would be left.
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
