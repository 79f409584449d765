"""The order of the examples in an epoch: a pure function of seed and epoch, so that a resumed run repeats it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def epoch_order(
    seed: int, epoch: int, num_examples: int, batch_size: int, shuffle: bool
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Returns which examples each step of an epoch takes, and the weight of each.

    The last batch, if it is not full, is padded with the first examples of the epoch at weight 0, so that all batches
    have one shape: they count for nothing but the statistics of batch normalisation. Without ``shuffle`` every epoch
    goes through the examples in the order of the data.

    NumPy promises that the raw output of a bit generator and of ``SeedSequence`` never changes; for
    ``Generator.permutation`` there is no such promise. So the order is that of sorted raw Philox numbers.

    Returns:
      ``order`` int32[steps, batch_size], indices of examples, and ``weights`` float32[steps, batch_size], 1 or 0,
      where steps = ceil(num_examples / batch_size).
    """
    examples = np.arange(num_examples)
    if shuffle:
        keys = np.random.Philox(np.random.SeedSequence((seed, epoch))).random_raw(num_examples)
        examples = np.argsort(keys, kind="stable")
    fillers = -num_examples % batch_size
    order = np.pad(examples, (0, fillers), mode="wrap").astype(np.int32)
    weights = np.pad(np.ones(num_examples, np.float32), (0, fillers))
    return order.reshape(-1, batch_size), weights.reshape(-1, batch_size)
