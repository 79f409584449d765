"""The statistics of a comparison: means with their intervals, paired differences, and which schedules differ.

Every schedule has one result for each seed, and a seed gives all schedules the same initial parameters and the same
order of the examples; so differences are taken seed by seed. A schedule is "better" only where the sign-flip test finds
a difference that exceeds the margin, which is what the choice of the learning rates may have caused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lrtrain.comparison.power import detectable
from lrtrain.comparison.sign_flips import step_down

Verdict: TypeAlias = Literal["better", "worse", "tie"]
OPPOSITE: Mapping[Verdict, Verdict] = {"better": "worse", "worse": "better", "tie": "tie"}
ALPHA = 0.05
# A pair leaves as a tie when a difference is less than this likely to be as large as all seeds would find.
_UNLIKELY = 0.1


@dataclass(frozen=True)
class Summary:
    """The results of one schedule over its seeds; a value that is not defined is NaN.

    Args:
      n: the number of trials.
      diverged: those without a result, because a loss was not finite or the plugin raised: they count as the worst one.
      mean: the mean of the results.
      median: their median.
      standard_deviation: their standard deviation, with n - 1.
      low: the lower end of the 95% interval of the mean (Student's t).
      high: its upper end.
      collapsed: the number of trials with a result that is no better than that of a guess.
    """

    n: int
    diverged: int
    mean: float
    median: float
    standard_deviation: float
    low: float
    high: float
    collapsed: int = 0


@dataclass(frozen=True)
class PairedDifference:
    """One schedule against another, seed by seed.

    Args:
      first: a schedule.
      second: the schedule that it is compared with.
      n: the number of seeds after which the pair was decided.
      mean: the mean of the differences first - second.
      low: the lower end of the 95% interval of that mean (Student's t, of this pair alone).
      high: its upper end.
      p: the two-sided p of the sign-flip test of this pair alone, that the difference is within the margin.
      p_adjusted: the same, corrected for all pairs that were tested and for all looks.
      verdict: whether ``first`` is better or worse than ``second``.
      margin: the largest difference that is a tie, because the choice of the learning rates may have caused it.
      detectable: the difference that all seeds find with a probability of 80%, for the spread of this pair; infinite
        where they can find none, NaN where there is no spread to tell.
      undecided: whether more seeds are due.
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
    margin: float = 0.0
    detectable: float = math.nan
    undecided: bool = False


def summarise(values: Sequence[float], diverged: int = 0, collapsed: int = 0) -> Summary:
    """Returns the summary of the results of one schedule, one for each seed; NaN for a trial without one."""
    found = np.asarray(values, float)
    good = found[np.isfinite(found)]
    diverged = diverged or len(found) - len(good)
    if not len(good):
        nothing = math.nan
        return Summary(len(found), diverged, nothing, nothing, nothing, nothing, nothing, collapsed)
    deviation = float(np.std(good, ddof=1)) if len(good) > 1 else math.nan
    low, high = interval(good)
    return Summary(len(found), diverged, float(good.mean()), float(np.median(good)), deviation, low, high, collapsed)


def interval(values: NDArray[np.float64], level: float = ALPHA) -> tuple[float, float]:
    r"""Returns the interval of the mean of float64[n]; NaN for fewer than two values.

    .. math:: \bar x \pm t_{n-1, 1-\alpha/2} \, s / \sqrt{n}
    """
    from scipy import stats

    if len(values) < 2:
        return math.nan, math.nan
    mean, error = float(values.mean()), float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = float(stats.t.ppf(1 - level / 2, len(values) - 1)) * error
    return mean - reach, mean + reach


def compare_pairs(
    results: Mapping[str, Sequence[float]],
    pairs: Sequence[tuple[str, str]],
    sign: int = 1,
    *,
    margins: Sequence[float] | None = None,
    looks: Sequence[int] | None = None,
) -> list[PairedDifference]:
    """Compares schedules pair by pair, with a correction for all pairs and all looks.

    At each look the pairs that are still undecided are tested on the seeds so far, at an equal share of 5%: then the
    probability of any false claim is at most 5%, by Boole's inequality. A pair that is decided leaves; so does, as a
    tie, one for which a difference that all seeds would find has become unlikely. Such a pair counts in the correction
    of later looks as before, as if its further differences were those that it has: those that stay are the ones that
    look most different, and to test them as a smaller family would favour chance.

    Args:
      results: one result of each schedule for each seed, in the same order. Those of a schedule that has left end
        early; with fewer than a look needs, its pairs stay undecided.
      pairs: the pairs that are tested.
      sign: 1 where higher is better, -1 where lower is.
      margins: the largest difference that is a tie, for each pair; None for 0.
      looks: the numbers of seeds after which there is a look; None for one look, after all seeds.
    """
    if not pairs:
        return []
    values = {label: np.asarray(each, float) for label, each in results.items()}
    looks = looks or (min(len(values[label]) for pair in pairs for label in pair),)
    test = _Test(pairs, sign, np.zeros(len(pairs)) if margins is None else np.asarray(margins, float), looks)
    found = [_unseen(pair, float(margin)) for pair, margin in zip(pairs, test.margins, strict=True)]
    for seeds in looks:
        left = [place for place, each in enumerate(found) if each.undecided]
        if not left or any(len(values[label]) < seeds for place in left for label in pairs[place]):
            break
        ties = [place for place, each in enumerate(found) if not each.undecided and each.verdict == "tie"]
        differences = _differences(values, [pairs[place] for place in left], seeds)
        others = np.array([np.resize(_differences(values, [pairs[at]], found[at].n), seeds) for at in ties])
        for place, each in zip(left, test.look(differences, left, others, ties), strict=True):
            found[place] = each
    return found


def _differences(
    values: Mapping[str, NDArray[np.float64]], pairs: Sequence[tuple[str, str]], seeds: int
) -> NDArray[np.float64]:
    """Returns the differences of some pairs on the first seeds, float64[pairs, seeds]."""
    return np.stack([values[first][:seeds] - values[second][:seeds] for first, second in pairs])


def _unseen(pair: tuple[str, str], margin: float) -> PairedDifference:
    nothing = math.nan
    first, second = pair
    return PairedDifference(
        first, second, 0, nothing, nothing, nothing, nothing, nothing, "tie", margin, undecided=True
    )


@dataclass(frozen=True, eq=False)
class _Test:
    """The test of some pairs, at several looks."""

    pairs: Sequence[tuple[str, str]]
    sign: int
    margins: NDArray[np.float64]
    looks: Sequence[int]

    def look(
        self,
        differences: NDArray[np.float64],
        places: Sequence[int],
        others: NDArray[np.float64],
        other_places: Sequence[int],
    ) -> list[PairedDifference]:
        """Tests the pairs that are left, beside those that have left as ties.

        Both are given by their places and their differences, float64[pairs, seeds].
        """
        beyond = self._beyond(differences, places)
        exceeds = beyond.mean(axis=1) > 0
        adjusted = np.where(exceeds, step_down(beyond, self._beyond(others, other_places)), 1.0)
        alone = [float(step_down(each[None])[0]) if more else 1.0 for each, more in zip(beyond, exceeds, strict=True)]
        corrected = np.minimum(adjusted * len(self.looks), 1.0)
        return [
            self._decided(place, differences[at], alone[at], float(corrected[at])) for at, place in enumerate(places)
        ]

    def _beyond(self, differences: NDArray[np.float64], places: Sequence[int]) -> NDArray[np.float64]:
        """Returns by how much the differences exceed the margin, in the direction of their mean."""
        if not len(places):
            return np.zeros((0, 0))
        directed: NDArray[np.float64] = np.sign(differences.mean(axis=1))[:, None] * differences
        return directed - self.margins[list(places)][:, None]

    def _decided(self, place: int, differences: NDArray[np.float64], p: float, corrected: float) -> PairedDifference:
        seeds, most = len(differences), self.looks[-1]
        mean, (low, high) = float(differences.mean()), interval(differences)
        spread = float(np.std(differences, ddof=1)) if seeds > 1 else math.nan
        margin = float(self.margins[place])
        times = detectable(most, len(self.pairs), ALPHA / len(self.looks))
        # Infinite where no seeds are enough, whatever the spread.
        found = margin + times * spread if spread or math.isinf(times) else margin
        verdict: Verdict = "tie"
        if corrected < ALPHA:
            verdict = "better" if self.sign * mean > 0 else "worse"
        likely = max(map(abs, interval(differences, 2 * _UNLIKELY)))
        goes_on = verdict == "tie" and seeds < most and not likely <= found
        shown = found if spread or math.isinf(found) else math.nan
        return PairedDifference(
            *self.pairs[place], seeds, mean, low, high, p, corrected, verdict, margin, shown, undecided=goes_on
        )
