from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from lrtrain.comparison.independent import compare_independent, holm
from lrtrain.comparison.statistics import compare_pairs, interval, summarise


def test_no_difference_at_all() -> None:
    (pair,) = compare_pairs({"a": [0.9] * 8, "b": [0.9] * 8}, [("a", "b")])
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


@pytest.mark.parametrize("n", [2, 5, 8, 30])
def test_the_interval_is_that_of_statsmodels(n: int) -> None:
    values = np.random.default_rng(n).normal(0.9, 0.01, n)
    assert interval(values) == pytest.approx(DescrStatsW(values).tconfint_mean())


def test_the_interval_of_one_value_and_of_equal_values() -> None:
    assert all(map(math.isnan, interval(np.array([0.5]))))
    assert interval(np.array([0.5, 0.5, 0.5])) == (0.5, 0.5)


def test_summary() -> None:
    summary = summarise([0.91, 0.93, math.nan, 0.92])
    assert (summary.n, summary.diverged) == (4, 1)
    assert summary.mean == pytest.approx(0.92)
    assert summary.median == pytest.approx(0.92)
    assert summary.standard_deviation == pytest.approx(0.01)
    # Student's t with two degrees of freedom.
    assert summary.high - 0.92 == pytest.approx(4.302653 * 0.01 / math.sqrt(3), rel=1e-6)
    assert 0.92 - summary.low == pytest.approx(summary.high - 0.92)
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


def test_over_409_pairs_a_clear_difference_is_found() -> None:
    """With Holm's correction of single tests, nothing could be significant among 435 pairs from 15 seeds on."""
    rng = np.random.default_rng(6)
    results = {str(index): list(index + rng.normal(0, 0.1, 30)) for index in range(30)}
    pairs = compare_pairs(results, list(itertools.combinations(results, 2)))
    assert {pair.verdict for pair in pairs} == {"worse"}


def test_a_margin_has_to_be_exceeded() -> None:
    results = {"a": [1.0 + 0.01 * n for n in range(10)], "b": [0.5 + 0.012 * n for n in range(10)]}
    assert [compare_pairs(results, [("a", "b")], margins=[m])[0].verdict for m in (0, 0.4, 0.6)] == [
        "better",
        "better",
        "tie",
    ]
    (pair,) = compare_pairs(results, [("b", "a")], margins=[0.4])
    assert (pair.verdict, pair.margin) == ("worse", 0.4)
    assert [compare_pairs(results, [("a", "b")], -1, margins=[m])[0].verdict for m in (0.4, 0.6)] == ["worse", "tie"]


@pytest.mark.slow
def test_a_difference_of_the_margin_is_called_one_in_at_most_five_of_a_hundred() -> None:
    rng = np.random.default_rng(7)
    false = 0
    for _ in range(400):
        results = {"a": list(rng.normal(0.3, 1, 10)), "b": list(rng.normal(0, 1, 10)), "c": list(rng.normal(0, 1, 10))}
        pairs = compare_pairs(results, [("a", "b"), ("c", "b")], margins=[0.3, 0.3])
        false += any(pair.verdict != "tie" for pair in pairs)
    assert false / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


class TestLooks:
    """Pairs that are decided leave, and so do those that will hardly be."""

    def test_a_clear_difference_leaves_at_the_first_look(self) -> None:
        rng = np.random.default_rng(8)
        results = {"a": list(rng.normal(5, 1, 8)), "b": list(rng.normal(0, 1, 8))}
        (pair,) = compare_pairs(results, [("a", "b")], looks=(8, 12, 18))
        assert (pair.verdict, pair.n, pair.undecided) == ("better", 8, False)

    def test_each_look_has_an_equal_share_of_five_percent(self) -> None:
        rng = np.random.default_rng(9)
        results = {"a": list(rng.normal(1.2, 1, 12)), "b": list(rng.normal(0, 1, 12))}
        (once,) = compare_pairs(results, [("a", "b")])
        (twice,) = compare_pairs(results, [("a", "b")], looks=(12, 20))
        assert twice.p == once.p
        assert twice.p_adjusted == pytest.approx(2 * once.p_adjusted)

    def test_equal_schedules_leave_as_a_tie_before_all_seeds_are_trained(self) -> None:
        rng = np.random.default_rng(10)
        left = 0
        for _ in range(50):
            results = {"a": list(rng.normal(0, 1, 8)), "b": list(rng.normal(0, 1, 8))}
            (pair,) = compare_pairs(results, [("a", "b")], looks=(8, 12))
            left += pair.verdict == "tie" and not pair.undecided
        assert left >= 25

    def test_a_difference_that_more_seeds_would_find_goes_on(self) -> None:
        near = [0.6, -0.5, 0.9, 0.2, 0.4, -0.1, 0.8, 0.3]
        (pair,) = compare_pairs({"a": near, "b": [0.0] * 8}, [("a", "b")], looks=(8, 30))
        assert (pair.verdict, pair.n, pair.undecided) == ("tie", 8, True)

    def test_the_last_look_decides_everything(self) -> None:
        above = [0.6, 0.1, 0.9, 0.2, 0.4, 0.7, 0.8, 0.3]
        (pair,) = compare_pairs({"a": above, "b": [0.0] * 8}, [("a", "b")], looks=(6, 8))
        # Six seeds give no p below 0.025.
        assert (pair.n, pair.verdict, pair.undecided) == (8, "better", False)

    def test_before_the_first_look_nothing_is_decided(self) -> None:
        (pair,) = compare_pairs({"a": [1.0] * 7, "b": [0.0] * 8}, [("a", "b")], looks=(8, 12))
        assert (pair.n, pair.verdict, pair.undecided) == (0, "tie", True)

    def test_one_that_has_left_does_not_hold_up_the_others(self) -> None:
        rng = np.random.default_rng(11)
        near = [0.6, -0.5, 0.9, 0.2, 0.4, -0.1, 0.8, 0.3, 0.5, 0.1, 0.2, 0.6]
        results = {"far": list(rng.normal(9, 1, 8)), "near": near, "zero": list(rng.normal(0, 0.01, 12))}
        far, close = compare_pairs(results, [("far", "zero"), ("near", "zero")], looks=(8, 12))
        assert (far.verdict, far.n) == ("better", 8)
        assert (close.n, close.undecided) == (12, False)

    def test_pairs_that_left_as_ties_count_in_the_correction_of_later_looks(self) -> None:
        """Those that stay are the ones that look most different: a family of their own would favour chance."""
        rng = np.random.default_rng(14)
        results = {str(n): list(rng.normal(0, 0.01, 8)) for n in range(1, 20)}
        results |= {"0": list(rng.normal(0, 0.01, 12)), "near": list(rng.normal(0.008, 0.01, 12))}
        pairs = [(label, "0") for label in results if label != "0"]
        found = {pair.first: pair for pair in compare_pairs(results, pairs, looks=(8, 12))}
        assert sum(pair.n == 8 for pair in found.values()) >= 15
        near = found["near"]
        assert near.n == 12
        # For the looks alone it would be twice the p.
        assert near.p_adjusted > 3 * (2 * near.p)


class TestIndependentRuns:
    """Runs without common seeds, against statsmodels."""

    def test_p_and_interval(self) -> None:
        rng = np.random.default_rng(12)
        results = {"a": list(rng.normal(1, 2, 7)), "b": list(rng.normal(0, 1, 11))}
        (pair,) = compare_independent(results, [("a", "b")], 1, [0.0])
        means = CompareMeans(DescrStatsW(results["a"]), DescrStatsW(results["b"]))
        assert pair.p == pytest.approx(means.ttest_ind(usevar="unequal")[1])
        assert (pair.low, pair.high) == pytest.approx(means.tconfint_diff(usevar="unequal"))

    def test_far_apart_equal_and_within_the_margin(self) -> None:
        rng = np.random.default_rng(13)
        results = {"a": list(rng.normal(9, 1, 7)), "b": list(rng.normal(0, 1, 11)), "c": [1.0, 1.0], "d": [1.0, 1.0]}
        pairs = [("a", "b"), ("b", "a"), ("c", "d")]
        assert [pair.verdict for pair in compare_independent(results, pairs, 1, [0.0] * 3)] == [
            "better",
            "worse",
            "tie",
        ]
        assert compare_independent(results, pairs[:1], 1, [20.0])[0].verdict == "tie"
        assert compare_independent(results, pairs[:1], -1, [0.0])[0].verdict == "worse"

    def test_without_any_spread_nobody_knows_what_is_chance(self) -> None:
        (pair,) = compare_independent({"a": [1.0, 1.0], "b": [0.9, 0.9]}, [("a", "b")], 1, [0.0])
        assert (pair.verdict, pair.p) == ("tie", 1.0)
