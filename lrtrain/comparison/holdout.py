"""The data of a comparison: training examples, validation examples, and a test set that is used once, at the end."""

from __future__ import annotations

import dataclasses

from lrtrain.comparison.plan import Plan
from lrtrain.data import Dataset, subset
from lrtrain.data.source import hold_out
from lrtrain.training.prepare import find_data

# A twelfth of the training examples is held out, where neither the user nor the workload says which.
_ONE_IN = 12


def load_data(plan: Plan) -> tuple[Dataset, int]:
    """Returns the data of a plan, ``train_size`` of its training examples, and how many of these are held out.

    The validation examples are what tuning and curves are measured on; with the protocol ``"as-is"`` they are the test
    set, which otherwise is used once, after the last step of the trials that are reported.

    Raises UsageError when the data set has too few examples, and DataError when it cannot be loaded.
    """
    config = plan.train
    whole = find_data(plan.workload, config).load()
    kept, held_out = whole, 0
    if plan.protocol == "as-is":
        kept = dataclasses.replace(whole, validation=whole.test)
    elif plan.holdout is not None or whole.validation is None:
        held_out = plan.holdout or max(1, len(whole.train) // _ONE_IN)
        kept, validation = hold_out(whole, held_out, config.seed)
        kept = dataclasses.replace(kept, validation=validation)
    if config.train_size is not None:
        kept = subset(kept, config.train_size, config.seed)
    config.check_data(len(kept.train))
    return kept, held_out
