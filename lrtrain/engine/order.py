"""The order of the examples in an epoch: a pure function of seed and epoch, so that a resumed run repeats it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def epoch_order(
    seed: int, epoch: int, num_examples: int, batch_size: int, shuffle: bool
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Returns which examples each step of an epoch takes, and the weight of each.

    The last batch, if it is not full, is padded with example 0 at weight 0, so that all batches have one shape.

    NumPy promises that the raw output of a bit generator and of ``SeedSequence`` never changes; for
    ``Generator.permutation`` there is no such promise. So the order is that of sorted raw Philox numbers.

    Args:
      seed: seed of the run, at least 0.
      epoch: epoch, from 0.
      num_examples: size of the training set.
      batch_size: examples in a step.
      shuffle: whether to shuffle; otherwise every epoch goes through the examples in the order of the data.

    Returns:
      ``order`` int32[steps, batch_size], indices of examples, and ``weights`` float32[steps, batch_size], 1 or 0,
      where steps = ceil(num_examples / batch_size).
    """
    steps = -(-num_examples // batch_size)
    order = np.zeros(steps * batch_size, np.int32)
    weights = np.zeros(steps * batch_size, np.float32)
    order[:num_examples] = _shuffled(seed, epoch, num_examples) if shuffle else np.arange(num_examples)
    weights[:num_examples] = 1
    return order.reshape(steps, batch_size), weights.reshape(steps, batch_size)


def _shuffled(seed: int, epoch: int, num_examples: int) -> npt.NDArray[np.intp]:
    keys = np.random.Philox(np.random.SeedSequence((seed, epoch))).random_raw(num_examples)
    return np.argsort(keys, kind="stable")
