from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lrtrain.comparison.statistics import (
    basin,
    compare_pairs,
    detectable_difference,
    holm,
    interval,
    seeds_needed,
    sign_flip,
    smallest_p,
    summarise,
)


def flips(values: list[float]) -> float:
    """Enumerates every choice of signs: the definition of the test."""
    means = [abs(np.mean(np.array(values) * signs)) for signs in itertools.product((1, -1), repeat=len(values))]
    return sum(mean >= abs(np.mean(values)) - 1e-12 for mean in means) / len(means)


@pytest.mark.parametrize(
    "values", [[0.1, 0.2, 0.3], [0.1, -0.2, 0.3, 0.05], [1.0, 2.0, -0.5, 3.0, 4.0, 0.1], [0.3, 0.3, 0.3, -0.3, 0.2]]
)
def test_the_permutation_test_is_exact_for_few_seeds(values: list[float]) -> None:
    assert sign_flip(np.array(values)) == pytest.approx(flips(values))


def test_no_difference_at_all() -> None:
    assert sign_flip(np.zeros(5)) == 1.0
    (pair,) = compare_pairs({"a": [0.9] * 5, "b": [0.9] * 5}, [("a", "b")])
    assert (pair.verdict, pair.mean, pair.low, pair.high, pair.p) == ("tie", 0, 0, 0, 1)


def test_holm_by_hand() -> None:
    # Sorted: 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, and never below the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.7]) == [0.7]
    assert holm([]) == []


@settings(max_examples=15)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=100))
def test_holm_is_that_of_statsmodels(ps: list[float]) -> None:
    assert holm(ps) == pytest.approx(list(multipletests(ps, method="holm")[1]), rel=1e-12, abs=0)


def test_the_interval_covers_the_mean_of_a_skewed_sample() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(100):
        low, high = interval(rng.exponential(size=30))
        hits += low <= 1 <= high
    assert hits >= 86


def test_the_interval_of_one_value_and_of_equal_values() -> None:
    assert all(map(math.isnan, interval(np.array([0.5]))))
    assert interval(np.array([0.5, 0.5, 0.5])) == (0.5, 0.5)


def test_summary() -> None:
    summary = summarise([0.91, 0.93, math.nan, 0.92])
    assert (summary.n, summary.diverged) == (4, 1)
    assert summary.mean == pytest.approx(0.92)
    assert summary.median == pytest.approx(0.92)
    assert summary.standard_deviation == pytest.approx(0.01)
    assert 0.9099 < summary.low < 0.92 < summary.high < 0.9301
    assert summarise([math.nan, math.nan]).diverged == 2


def simulate(rng: np.random.Generator, shift: float, schedules: int, seeds: int) -> dict[str, list[float]]:
    """Makes accuracies with a spread of 0.2 points; the first schedule is better by ``shift`` spreads."""
    common = rng.normal(0, 0.001, seeds)
    made = {}
    for index in range(schedules):
        better = 0.002 * shift * (index == 0)
        made[f"s{index}"] = list(0.9 + better + common + rng.normal(0, 0.002, seeds))
    return made


@pytest.mark.slow
def test_equals_are_called_a_tie() -> None:
    rng = np.random.default_rng(1)
    ties = 0
    for _ in range(200):
        results = simulate(rng, 0, 3, 10)
        ties += all(pair.verdict == "tie" for pair in compare_pairs(results, [("s0", "s1"), ("s2", "s1")]))
    assert ties >= 190


def test_a_schedule_that_is_better_by_two_standard_deviations_is_found() -> None:
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(50):
        results = simulate(rng, 2, 3, 10)
        pairs = compare_pairs(results, [("s1", "s0"), ("s2", "s0")])
        found += all(pair.verdict == "worse" for pair in pairs)
    assert found >= 45


def test_pairs_the_other_way_round_mirror() -> None:
    results = simulate(np.random.default_rng(4), 3, 2, 12)
    (one,), (other,) = (compare_pairs(results, [pair]) for pair in (("s0", "s1"), ("s1", "s0")))
    assert (one.verdict, other.verdict) == ("better", "worse")
    assert one.mean == pytest.approx(-other.mean)
    assert one.p == pytest.approx(other.p)


def test_a_schedule_that_diverges_is_not_better() -> None:
    good, bad = [0.90 + 0.001 * n for n in range(10)], [0.95 + 0.001 * n for n in range(10)]
    (pair,) = compare_pairs({"a": [*bad[:9], math.nan], "b": good}, [("a", "b")])
    assert (pair.n, pair.verdict) == (9, "tie")
    (pair,) = compare_pairs({"a": bad, "b": [*good[:9], math.nan]}, [("a", "b")])
    assert pair.verdict == "better"
    (pair,) = compare_pairs({"a": bad, "b": [math.nan] * 10}, [("a", "b")])
    assert (pair.n, pair.verdict) == (0, "tie")


def test_what_the_seeds_can_show() -> None:
    assert smallest_p(10, 1) == pytest.approx(2 / 2**10)
    assert [seeds_needed(family) for family in (1, 2, 13, 91)] == [6, 7, 10, 12]
    for family in (1, 14, 105):
        assert smallest_p(seeds_needed(family), family) < 0.05 <= smallest_p(seeds_needed(family) - 1, family)


def test_the_difference_that_can_be_hoped_for() -> None:
    """For a spread of 0.2 points, 16 seeds find 0.2 points; and so says the power of a z test, simulated."""
    assert detectable_difference(0.2, 16) == pytest.approx(0.2, rel=0.02)
    rng = np.random.default_rng(5)
    delta = detectable_difference(1.0, 25)
    statistics = rng.normal(delta, math.sqrt(2 / 25), 20_000) / math.sqrt(2 / 25)
    assert np.mean(np.abs(statistics) > stats.norm.ppf(0.975)) == pytest.approx(0.8, abs=0.01)


def test_the_basin() -> None:
    losses = {0.25: [2.0, 2.1], 0.5: [1.02, 1.04], 1.0: [1.0, 1.1], 2.0: [1.05, 1.1], 4.0: [math.inf, math.inf]}
    assert basin(losses) == (0.5,)
    noisy = {0.5: [1.0, 1.4], 1.0: [0.9, 1.3], 2.0: [1.1, 1.3], 4.0: [3.0, 3.1], 8.0: [1.1, 1.1]}
    assert basin(noisy) == (0.5, 1.0, 2.0)
