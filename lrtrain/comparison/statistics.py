"""The statistics of a comparison: intervals, paired differences, and which schedules differ.

Every schedule has one result for each seed, and a seed gives all schedules the same initial parameters and the same
order of the examples; so differences are taken seed by seed. A schedule is "better" only where the bootstrap interval
of the mean difference excludes 0 and the p of the sign-flip permutation test, corrected for the number of pairs, is
below 5%.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Verdict: TypeAlias = Literal["better", "worse", "tie"]
OPPOSITE: Mapping[Verdict, Verdict] = {"better": "worse", "worse": "better", "tie": "tie"}
ALPHA = 0.05
# With up to fourteen seeds every sign flip is evaluated, and the test is exact.
_RESAMPLES = 2**14


@dataclass(frozen=True)
class Summary:
    """The results of one schedule over its seeds; a value that is not defined is NaN.

    Args:
      n: the number of trials, diverged ones included.
      diverged: the number of trials without a result.
      mean: the mean of the results.
      median: their median.
      standard_deviation: their standard deviation, with n - 1.
      low: the lower end of the 95% bootstrap interval of the mean (BCa).
      high: its upper end.
    """

    n: int
    diverged: int
    mean: float
    median: float
    standard_deviation: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """One schedule against another, seed by seed.

    Args:
      first: a schedule.
      second: the schedule that it is compared with.
      n: the number of seeds on which both have a result.
      mean: the mean of the differences first - second.
      low: the lower end of the 95% bootstrap interval of that mean (BCa).
      high: its upper end.
      p: the two-sided p of the sign-flip permutation test.
      p_adjusted: the same with Holm's correction for all pairs that are tested.
      verdict: whether ``first`` is better or worse than ``second``.
    """

    first: str
    second: str
    n: int
    mean: float
    low: float
    high: float
    p: float
    p_adjusted: float
    verdict: Verdict


def summarise(values: Sequence[float]) -> Summary:
    """Returns the summary of the results of one schedule, one for each seed; NaN for a trial that diverged."""
    found = np.asarray(values, float)
    good = found[np.isfinite(found)]
    diverged = len(found) - len(good)
    if not len(good):
        return Summary(len(found), diverged, *[math.nan] * 5)
    deviation = float(np.std(good, ddof=1)) if len(good) > 1 else math.nan
    low, high = interval(good)
    return Summary(len(found), diverged, float(good.mean()), float(np.median(good)), deviation, low, high)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the 95% bootstrap interval (BCa) of the mean of float64[n]; NaN for fewer than two values."""
    from scipy import stats

    if len(values) < 2:
        return math.nan, math.nan
    # BCa would divide by the spread of equal values, which is 0.
    if np.ptp(values) <= 1e-12 * max(1.0, float(np.abs(values).max())):
        return float(values[0]), float(values[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        for method in ("BCa", "percentile"):
            result = stats.bootstrap((values,), np.mean, method=method, rng=np.random.default_rng(0))
            low, high = map(float, result.confidence_interval)
            if math.isfinite(low) and math.isfinite(high):
                break
    return low, high


def sign_flip(differences: NDArray[np.float64]) -> float:
    """Returns the two-sided p of the hypothesis that both signs of each difference, float64[n], are equally likely."""
    from scipy import stats

    if len(differences) < 2 or not np.any(differences):
        return 1.0
    rng = np.random.default_rng(0)
    result = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=_RESAMPLES, rng=rng
    )
    return float(result.pvalue)


def compare_pairs(
    results: Mapping[str, Sequence[float]], pairs: Sequence[tuple[str, str]], sign: int = 1
) -> list[PairedDifference]:
    """Compares schedules pair by pair, with Holm's correction over the pairs.

    Seeds on which a trial of the pair diverged are left out. A schedule with more diverged trials than the other is
    never called better, whatever the remaining seeds show.

    Every schedule has one result for each seed, in the same order; NaN is a trial that diverged. Higher is better, or
    lower where ``sign`` is -1.
    """
    values = {label: np.asarray(each, float) for label, each in results.items()}
    diverged = {label: int(np.sum(~np.isfinite(each))) for label, each in values.items()}
    both = [values[first] - values[second] for first, second in pairs]
    differences = [each[np.isfinite(each)] for each in both]
    ps = list(map(sign_flip, differences))
    found = []
    for (first, second), each, p, p_adjusted in zip(pairs, differences, ps, holm(ps), strict=True):
        mean = float(each.mean()) if len(each) else math.nan
        low, high = interval(each)
        verdict: Verdict = "tie"
        least, most = sorted((sign * low, sign * high))
        if p_adjusted < ALPHA and least > 0 and diverged[first] <= diverged[second]:
            verdict = "better"
        if p_adjusted < ALPHA and most < 0 and diverged[second] <= diverged[first]:
            verdict = "worse"
        found.append(PairedDifference(first, second, len(each), mean, low, high, p, p_adjusted, verdict))
    return found


def holm(ps: Sequence[float]) -> list[float]:
    r"""Returns the p values of a family of tests, corrected by Holm's method.

    .. math::
        \tilde p_{(i)} = \max_{j \le i} \min(1, (n - j + 1) \, p_{(j)})

    Source:
      Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    values = np.asarray(ps, float)
    order = np.argsort(values)
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(p) for p in adjusted]


def smallest_p(n: int, family: int) -> float:
    """Returns the smallest corrected p that the sign-flip test can give with ``n`` seeds, for ``family`` pairs."""
    return min(1.0, family * 2.0 ** (1 - n))


def seeds_needed(family: int) -> int:
    """Returns the fewest seeds with which the test can find a difference in a family of that many pairs."""
    return next(n for n in itertools.count(1) if smallest_p(n, family) < ALPHA)


def detectable_difference(standard_deviation: float, n: int) -> float:
    """Returns the difference of means that ``n`` seeds find with a probability of 80%.

    The rule n = 2 (z + z')^2 (sd / difference)^2 is that of two independent groups; paired seeds find no less. The
    standard deviation is that between the seeds of one schedule.
    """
    from scipy import stats

    quantiles = stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(0.8)
    return float(quantiles * standard_deviation * math.sqrt(2 / n))


def basin(losses: Mapping[float, Sequence[float]]) -> tuple[float, ...]:
    """Returns the best scale, and those next to it whose median loss is within one standard error of its own.

    Every scale has the losses of its trials, infinity for one that diverged.
    """
    medians = {scale: float(np.median(values)) for scale, values in sorted(losses.items())}
    scales = list(medians)
    best = min(scales, key=lambda scale: medians[scale])
    values = np.asarray(losses[best], float)
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0
    good = [medians[scale] <= medians[best] + error for scale in scales]
    low = high = scales.index(best)
    while low > 0 and good[low - 1]:
        low -= 1
    while high + 1 < len(scales) and good[high + 1]:
        high += 1
    return tuple(scales[low : high + 1])
