"""How well counts of n-grams predict a text: what a network is measured against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def ngram_bits(train: NDArray[np.integer], test: NDArray[np.integer], *, order: int, vocabulary: int) -> float:
    r"""Returns the bits per character that an interpolated n-gram model needs for a text.

    The model of order n predicts a character from the n - 1 before it. It is smoothed as Witten and Bell proposed:
    where the context h was followed N(h) times, by T(h) different characters, c(h, w) times by w,

    .. math::
        p_n(w \mid h) = \frac{c(h, w) + T(h) \, p_{n-1}(w \mid h')}{N(h) + T(h)}

    with h' the context without its first character, and :math:`p_0 = 1 / \text{vocabulary}`. Where h was not seen,
    p_n is p_(n-1). The first characters of the test text have shorter contexts. Nothing is tuned.

    Args:
      train: the tokens that are counted, ``int[characters]``.
      test: the tokens that are predicted, likewise.
      order: n; 3 is two characters of context.
      vocabulary: how many different tokens there are; ``vocabulary ** order`` must be below 2 ** 63.

    References: Witten and Bell 1991, IEEE Transactions on Information Theory 37(4), method C; Chen and Goodman 1998
    (in its interpolated form).
    """
    likelihood = np.full(len(test), 1 / vocabulary)
    for length in range(1, min(order, len(test)) + 1):
        grams, times = np.unique(_grams(train, length, vocabulary), return_counts=True)
        contexts, first, kinds = np.unique(grams // vocabulary, return_index=True, return_counts=True)
        asked = _grams(test, length, vocabulary)
        seen = _look_up(grams, times, asked)
        total = _look_up(contexts, np.add.reduceat(times, first), asked // vocabulary)
        different = _look_up(contexts, kinds, asked // vocabulary)
        shorter = likelihood[length - 1 :]
        mixed = (seen + different * shorter) / np.maximum(total + different, 1)
        likelihood[length - 1 :] = np.where(total > 0, mixed, shorter)
    return float(-np.mean(np.log2(likelihood)))


def _grams(tokens: NDArray[np.integer], length: int, vocabulary: int) -> NDArray[np.int64]:
    """Returns a number for each run of ``length`` tokens: its digits are the tokens, the last one the lowest."""
    windows = np.lib.stride_tricks.sliding_window_view(tokens.astype(np.int64), length)
    return windows @ vocabulary ** np.arange(length - 1, -1, -1, dtype=np.int64)


def _look_up(keys: NDArray[np.int64], values: NDArray[np.intp], asked: NDArray[np.int64]) -> NDArray[np.intp]:
    """Returns the value of each key that is asked for, 0 where there is none; the keys are sorted."""
    places = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[places] == asked, values[places], 0)
