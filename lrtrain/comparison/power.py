"""The difference that a number of seeds can find."""

from __future__ import annotations

import functools
import math

import numpy as np

from lrtrain.comparison.sign_flips import smallest_p

_POWER = 0.8
# Numbers that are drawn, in all: enough that a quantile of 1% is known to a few parts in a hundred.
_NUMBERS = 8_000_000


@functools.lru_cache(maxsize=256)
def detectable(seeds: int, pairs: int, level: float) -> float:
    r"""Returns the difference that the test finds with a probability of 80%, where one of the pairs differs.

    It is :math:`\delta` with

    .. math:: P(t > c) = 0.8, \qquad t \sim \text{noncentral } t_{n-1}(\delta \sqrt{n})

    and :math:`c` the quantile of the largest of the statistics of pairs with a schedule in common, none of which
    differs, by simulation.

    Args:
      seeds: the number of them.
      pairs: the number of pairs that are tested together.
      level: the probability of a false claim.

    Returns:
      The difference in standard deviations of the paired differences; infinity where no p below the level is possible.
    """
    from scipy import optimize, stats

    if smallest_p(seeds) >= level:
        return math.inf
    critical = _critical(seeds, pairs, level)
    root = math.sqrt(seeds)

    def lacking(difference: float) -> float:
        # The other tail is below a thousandth wherever this one is 80%.
        return float(stats.nct.sf(critical, seeds - 1, difference * root)) - _POWER

    most = (critical + 3) / root
    while lacking(most) < 0:
        most *= 2
    return float(optimize.brentq(lacking, 0.0, most))


def _critical(seeds: int, pairs: int, level: float) -> float:
    """Returns the quantile of the largest of Student's t of several pairs with a schedule in common."""
    from scipy import stats

    if pairs == 1:
        return float(stats.t.ppf(1 - level / 2, seeds - 1))
    rng = np.random.default_rng(0)
    draws = max(1000, _NUMBERS // (seeds * (pairs + 1)))
    largest = []
    # A few at a time, so that little memory is taken.
    for begin in range(0, draws, 500):
        drawn = rng.standard_normal((min(500, draws - begin), pairs + 1, seeds))
        differences = drawn[:, 1:] - drawn[:, :1]
        spread = differences.std(axis=2, ddof=1)
        largest.append((np.abs(differences.mean(axis=2)) / spread).max(axis=1) * math.sqrt(seeds))
    return float(np.quantile(np.concatenate(largest), 1 - level))
