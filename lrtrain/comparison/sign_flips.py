"""The test of paired differences: the signs of each seed are flipped, for all pairs of schedules together."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

# With up to fourteen seeds every choice of signs is evaluated, and the test is exact.
_EXACT = 14
_SAMPLED = 2**14
# Accuracies are whole numbers of examples, so that many choices of signs give the same sum, but for its rounding.
_ROUNDING = 1e-9


def step_down(differences: NDArray[np.float64], others: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    r"""Returns the two-sided p of each pair, corrected for all of them.

    Under the hypothesis that a seed's differences, of all pairs, could as well have the other sign, every choice of
    signs is equally likely. Of each, the largest statistic counts; pairs that differ more are taken out one by one:

    .. math::
        r_j = \frac{|\sum_i d_{ji}|}{\sqrt{n \sum_i d_{ji}^2}} \qquad
        p_{(j)} = \max_{k \le j} P\left(\max_{l \ge k} r^*_{(l)} \ge r_{(k)}\right)

    with :math:`r_{(1)} \ge r_{(2)} \ge \dots`. It orders the choices of signs as Student's t of a pair does, and is
    defined where all differences are equal.

    Args:
      differences: float64[pairs, seeds].
      others: float64[others, seeds], differences of pairs that are not tested any more but count in the maximum.

    Returns:
      float64[pairs]; the smallest that n seeds can give is 2^(1 - n), however many pairs there are.

    Source:
      Westfall and Young, "Resampling-Based Multiple Testing", Wiley 1993, algorithm 2.8.
    """
    pairs, seeds = differences.shape
    if not pairs or not seeds:
        return np.ones(pairs)
    unit, signs = _unit(differences), _signs(seeds)
    observed = np.abs(unit.sum(axis=0))
    order = np.argsort(observed)
    flipped = np.abs(signs @ unit[:, order])
    if others is not None and len(others):
        np.maximum(flipped, np.abs(signs @ _unit(others)).max(axis=1, keepdims=True), out=flipped)
    # From the least one on: the maximum over those that have not been taken out.
    np.maximum.accumulate(flipped, axis=1, out=flipped)
    reached = (flipped >= observed[order] - _ROUNDING).mean(axis=0)
    p = np.empty(pairs)
    p[order[::-1]] = np.maximum.accumulate(reached[::-1])
    return p


def _unit(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns differences so that the sum of a pair is its statistic, float64[seeds, pairs]."""
    pairs, seeds = differences.shape
    length = np.sqrt(seeds * np.square(differences).sum(axis=1))
    unit: NDArray[np.float64] = np.zeros((seeds, pairs))
    np.divide(differences.T, length, out=unit, where=length > 0)
    return unit


def smallest_p(seeds: int) -> float:
    """Returns the smallest p that the test can give with a number of seeds, for any number of pairs."""
    return 2.0 ** (1 - seeds)


def fewest_seeds(level: float) -> int:
    """Returns the fewest seeds with which a p below ``level`` is possible."""
    return next(seeds for seeds in itertools.count(1) if smallest_p(seeds) < level)


def _signs(seeds: int) -> NDArray[np.float64]:
    """Returns choices of signs, float64[choices, seeds], the observed one among them.

    The first sign is always +1: with all signs turned round, the statistic is the same.
    """
    if seeds <= _EXACT:
        rest = np.array(list(itertools.product((1.0, -1.0), repeat=seeds - 1))).reshape(2 ** (seeds - 1), seeds - 1)
    else:
        rest = np.random.default_rng(0).choice((1.0, -1.0), (_SAMPLED, seeds - 1))
        rest[0] = 1.0
    return np.hstack([np.ones((len(rest), 1)), rest])
