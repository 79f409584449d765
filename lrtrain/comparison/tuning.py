"""The best learning-rate scale of a schedule, from runs at several scales: a parabola fitted near the best of them.

One run at each scale of a coarse grid shows where the best one is about. The scale with the best mean of few runs is no
estimate of the best scale: chance picks it, and it may stand beside a cliff. So more runs follow around the vertex of a
parabola that is fitted to the cost over the logarithm of the scale, and the parabola is fitted again.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Of a fit: three are enough for a parabola without any chance.
_PLACES = 4
# Points that are farther from the centre, in octaves, have no weight in the fit.
_REACH = 2.5
_NEAR = 1.75
# A scale is no part of the basin where its cost exceeds the least one by more than this many times the usual.
_CLIFF = 10.0
_DRAWS = 400
_LEAST_CURVATURE = 1e-6
# In octaves, towards lower costs, where they only fall.
_STEP = 0.5
# Of the coefficient of the cubic term, in units of that of the square: how lopsided a basin is expected to be.
_LOPSIDED = 0.3


@dataclass(frozen=True)
class Basin:
    """What runs at several scales say of the best scale; scales are in octaves, that is log2.

    Args:
      best: the estimate of the best scale.
      cost: the estimate of the cost there; infinity where every scale has failed.
      spread: the standard deviation between runs at one scale; NaN where there were too few of them.
      loss: the expected cost of the best scale's not being known better; NaN as above.
      low: the lowest scale about as good: what is lost there is no more than the spread between single runs.
      high: the highest one.
      on_edge: whether the best scale is the lowest or the highest that was tried.
    """

    best: float
    cost: float
    spread: float
    loss: float
    low: float
    high: float
    on_edge: bool


@dataclass(frozen=True, eq=False)
class _Points:
    """The runs of one schedule, by scale in ascending order: float64[scales] but for ``costs``."""

    at: NDArray[np.float64]
    mean: NDArray[np.float64]
    runs: NDArray[np.float64]
    costs: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, seen: Mapping[float, Sequence[float]]) -> _Points:
        scales = sorted(seen)
        costs = tuple(tuple(seen[scale]) for scale in scales)
        means = np.array([np.mean(each) if np.isfinite(each).all() else np.inf for each in costs])
        return cls(np.log2(scales), means, np.array([float(len(each)) for each in costs]), costs)

    @functools.cached_property
    def good(self) -> NDArray[np.bool_]:
        """Which scales are part of the basin, bool[scales]."""
        found = self.mean[np.isfinite(self.mean)]
        if not len(found):
            return np.zeros(len(self.mean), bool)
        excess = np.sort(found - found.min())[1:]
        # Accuracies are often equal: then it is that of the nearest that is not.
        some = excess[excess > 0]
        usual = max(excess[(len(excess) - 1) // 2], some[0]) if len(some) else 0.0
        good: NDArray[np.bool_] = self.mean - found.min() <= _CLIFF * usual
        return good

    def bounds(self, centre: float) -> tuple[float, float]:
        """Returns between which scales the best one may be: those that were tried, up to the nearest failed ones."""
        above, below = self.at[~self.good & (self.at >= centre)], self.at[~self.good & (self.at < centre)]
        inside = self.good & (self.at < above.min(initial=np.inf)) & (self.at > below.max(initial=-np.inf))
        tried = self.at[inside if inside.any() else self.good]
        return float(tried.min()), float(tried.max())


def grid_best(seen: Mapping[float, Sequence[float]]) -> float:
    """Returns the scale whose median cost is lowest; of those with the same median, such as infinity, the lowest."""
    return min(seen, key=lambda scale: (median(seen[scale]), scale))


def median(costs: Sequence[float]) -> float:
    """Returns the median; of an even number of costs, some of them infinite, the higher of the two in the middle."""
    return float(statistics.median_high(costs) if any(map(math.isinf, costs)) else statistics.median(costs))


def coarse_best(seen: Mapping[float, Sequence[float]]) -> float:
    """Returns the scale whose neighbourhood is best.

    Costs are smoothed over neighbours with weights 1, 2, 1, so that a lucky run beside a cliff does not win.
    """
    points = _Points.of(seen)
    if not points.good.any():
        return min(seen)
    least, worst = points.mean[points.good].min(), points.mean[points.good].max()
    # A failed scale is as much worse than the worst other one as that is than the best.
    capped = np.where(points.good, points.mean, 2 * worst - least)
    padded = np.pad(capped, 1, mode="edge")
    smooth = np.where(points.good, padded[:-2] + 2 * padded[1:-1] + padded[2:], np.inf)
    # Where all are equal, the middle one: an edge would have the grid extended for nothing.
    (best,) = np.nonzero(np.isclose(smooth, smooth.min(), rtol=1e-9, atol=0))
    return sorted(seen)[int(best[len(best) // 2])]


def has_basin(seen: Mapping[float, Sequence[float]]) -> bool:
    """Returns whether all runs at some scale have a result."""
    return bool(_Points.of(seen).good.any())


def cliffs(seen: Mapping[float, Sequence[float]]) -> set[float]:
    """Returns the scales that are no part of the basin: a run has no result, or the mean is far from the best one."""
    return {scale for scale, good in zip(sorted(seen), _Points.of(seen).good, strict=True) if not good}


def vertex(seen: Mapping[float, Sequence[float]], centre: float, reach: float) -> float:
    """Returns the vertex of a parabola through the runs near a scale, at most an octave from it; all in octaves.

    It is the scale itself where the runs are too few.
    """
    points = _Points.of(seen)
    if not points.good.any():
        return centre
    use = _weights(points, centre, reach)
    found = centre
    # Less is rounding.
    least = _LEAST_CURVATURE * float(np.ptp(points.mean[points.good]))
    if len(np.unique(points.at[use > 0].round(1))) >= 3 and least > 0:
        design = np.vander(points.at - centre, 3, increasing=True)
        scaled = design * use[:, None]
        solved = np.linalg.lstsq(scaled.T @ design, scaled.T @ np.where(points.good, points.mean, 0.0), rcond=None)[0]
        if solved[2] > least:
            found += float(np.clip(-solved[1] / (2 * solved[2]), -1.0, 1.0))
        elif abs(solved[1]) > least:
            found -= float(np.copysign(_STEP, solved[1]))
    return float(np.clip(found, *points.bounds(centre)))


def basin_at(seen: Mapping[float, Sequence[float]], best: float) -> Basin:
    """Returns the basin around a scale that was found to be the best one, in octaves."""
    points = _Points.of(seen)
    if not points.good.any():
        return Basin(best, math.inf, math.nan, math.nan, best, best, on_edge=False)
    low, high = points.bounds(best)
    on_edge = len(points.at) > 1 and not points.at.min() < best < points.at.max()
    reach = _reach(points, best, _NEAR)
    near = np.flatnonzero(_weights(points, best, _NEAR) > 0)
    distance = np.repeat(points.at[near] - best, [len(points.costs[place]) for place in near])
    costs = np.array([cost for place in near for cost in points.costs[place]])
    if len(np.unique(distance.round(1))) < 3 or len(costs) < 4:
        lowest = float(points.mean[points.good].min())
        here = [mean for at, mean in zip(points.at, points.mean, strict=True) if math.isclose(at, best)]
        return Basin(best, here[0] if here else lowest, math.nan, math.nan, best, best, on_edge=on_edge)
    weights = 1 - np.square(distance / reach)
    return _fitted(best, (distance, costs, weights), (low - best, high - best), on_edge)


def _fitted(
    best: float,
    runs: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    bounds: tuple[float, float],
    on_edge: bool,
) -> Basin:
    """Returns the basin, given runs (distance from the best scale, cost, weight) and the distances that are possible.

    The parabola says how wide it is. What is lost is the mean over curves that the runs allow, cubic ones.
    """
    distance, costs, weights = runs
    square = np.linalg.lstsq(
        np.vander(distance, 3, increasing=True) * np.sqrt(weights)[:, None], costs * np.sqrt(weights), rcond=None
    )[0]
    residuals = costs - np.vander(distance, 3, increasing=True) @ square
    variance = float(np.square(residuals).sum() / (len(costs) - 3))
    spread, curvature = math.sqrt(variance), max(float(square[2]), 0.0)
    reach = math.sqrt(spread / curvature) if curvature * _REACH**2 > spread else _REACH
    cubic, covariance = _cubic(runs, variance, curvature)
    drawn = np.random.default_rng(0).multivariate_normal(cubic, covariance, _DRAWS, check_valid="ignore", method="svd")
    nearby = np.linspace(max(bounds[0], -1.0), min(bounds[1], 1.0), 41)
    loss = float((drawn[:, 0] - (drawn @ np.vander(nearby, 4, increasing=True).T).min(axis=1)).clip(0).mean())
    low, high = max(bounds[0], -reach), min(bounds[1], reach)
    return Basin(best, float(square[0]), spread, loss, best + min(low, 0.0), best + max(high, 0.0), on_edge=on_edge)


def _cubic(
    runs: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], variance: float, curvature: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the coefficients of a cubic through the costs and their covariance; its cubic term is held back."""
    distance, costs, weights = runs
    design = np.vander(distance, 4, increasing=True)
    precision = (design * weights[:, None]).T @ design
    held = variance / max(_LOPSIDED * curvature, 1e-9) ** 2 if variance else 1.0
    precision[3, 3] += held
    precision += 1e-9 * np.eye(4)
    inverse = np.linalg.inv(precision)
    solved: NDArray[np.float64] = inverse @ ((design * weights[:, None]).T @ costs)
    # Far runs have less weight, and no more chance in them.
    noise = (design * np.square(weights)[:, None]).T @ design
    noise[3, 3] += held
    return solved, np.asarray(variance * inverse @ noise @ inverse, np.float64)


def _reach(points: _Points, centre: float, least: float) -> float:
    """Returns how far from a scale runs count in a fit: so far that there are four places, or all that there are."""
    places = np.unique((points.at[points.good] - centre).round(1))
    nearest = np.sort(np.abs(places))[:_PLACES]
    return max(least, 1.1 * float(nearest[-1]))


def _weights(points: _Points, centre: float, least: float) -> NDArray[np.float64]:
    distance = (points.at - centre) / _reach(points, centre, least)
    return np.where(points.good, points.runs * np.clip(1 - distance**2, 0.0, None), 0.0)
