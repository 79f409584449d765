"""The test of runs that have no seed in common: Welch's, with Holm's correction for the number of pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lrtrain.comparison.statistics import ALPHA, PairedDifference, Verdict


def compare_independent(
    results: Mapping[str, Sequence[float]], pairs: Sequence[tuple[str, str]], sign: int, margins: Sequence[float]
) -> list[PairedDifference]:
    """Compares schedules pair by pair, where the runs of one have nothing in common with those of another.

    It finds less than `lrtrain.comparison.statistics.compare_pairs` where seeds have an effect on all schedules. The
    arguments are those of that function; every schedule needs two results, and may have any number of them.

    Source:
      Welch, "The generalization of 'Student's' problem when several different population variances are involved",
      Biometrika 34, 1947.
    """
    from scipy import stats

    tests = []
    for (first, second), margin in zip(pairs, margins, strict=True):
        one, other = (np.asarray(results[label], float) for label in (first, second))
        mean = float(one.mean() - other.mean())
        variances = one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)
        error = math.sqrt(sum(variances))
        freedom = _freedom(variances, (len(one), len(other)))
        beyond = abs(mean) - margin
        # Without any spread nobody knows what is chance.
        p = 2 * float(stats.t.sf(beyond / error, freedom)) if error else 1.0
        reach = float(stats.t.ppf(1 - ALPHA / 2, freedom)) * error
        tests.append((mean, mean - reach, mean + reach, min(p, 1.0) if beyond > 0 else 1.0, min(len(one), len(other))))
    corrected = holm([p for *_, p, _ in tests])
    found = []
    for pair, test, adjusted, margin in zip(pairs, tests, corrected, margins, strict=True):
        mean, low, high, p, runs = test
        verdict: Verdict = "tie"
        if adjusted < ALPHA:
            verdict = "better" if sign * mean > 0 else "worse"
        found.append(PairedDifference(*pair, runs, mean, low, high, p, adjusted, verdict, margin))
    return found


def _freedom(variances: tuple[float, float], runs: tuple[int, int]) -> float:
    below = sum(variance**2 / (count - 1) for variance, count in zip(variances, runs, strict=True))
    return sum(variances) ** 2 / below if below else math.inf


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
