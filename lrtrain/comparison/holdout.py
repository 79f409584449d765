"""The data of a comparison: training examples, validation examples, and a test set that is used once, at the end."""

from __future__ import annotations

import dataclasses

import numpy as np

from lrtrain.comparison.plan import Plan
from lrtrain.data import Dataset, Split, subset
from lrtrain.data.types import drawn
from lrtrain.errors import UsageError
from lrtrain.training.prepare import find_data

# Of the training examples one in so many is held out, where neither the user nor the workload says which.
_ONE_IN = 12


def load_data(plan: Plan) -> Dataset:
    """Loads the data of a plan, holds out the validation examples, and keeps ``train_size`` of the others.

    The validation examples are what tuning and curves are measured on; with the protocol ``"as-is"`` they are the test
    set, which otherwise is used once, after the last step of the trials that are reported.

    Raises UsageError when the data set has too few examples, and DataError when it cannot be loaded.
    """
    config = plan.train
    whole = find_data(plan.workload, config).load()
    kept = whole
    if plan.protocol == "as-is":
        kept = dataclasses.replace(whole, validation=whole.test)
    elif plan.holdout is not None or whole.validation is None:
        examples = plan.holdout or max(1, len(whole.train) // _ONE_IN)
        kept, validation = hold_out(whole, examples, config.seed)
        kept = dataclasses.replace(kept, validation=validation)
    if config.train_size is not None:
        kept = subset(kept, config.train_size, config.seed)
    config.check_data(len(kept.train))
    return kept


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
