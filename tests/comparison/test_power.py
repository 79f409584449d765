"""The difference that seeds can find is found as often as is said, by the test that is used."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from lrtrain.comparison.power import detectable
from lrtrain.comparison.statistics import compare_pairs


@pytest.mark.parametrize(("seeds", "level"), [(8, 0.05), (12, 0.025), (30, 0.0125)])
def test_of_one_pair_it_is_that_of_statsmodels(seeds: int, level: float) -> None:
    expected = TTestPower().solve_power(nobs=seeds, alpha=level, power=0.8)
    assert detectable(seeds, 1, level) == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "others"), [(8, 1), (8, 4), (8, 22), (12, 4), (30, 22)])
def test_the_announced_difference_is_found_in_four_of_five(seeds: int, others: int) -> None:
    rng = np.random.default_rng(seeds * others)
    # Of a paired difference of two runs with a spread of 1 each.
    ahead = detectable(seeds, others, 0.05) * math.sqrt(2)
    found = 0
    for _ in range(300):
        values = rng.normal(0, 1, (others + 1, seeds))
        values[1] += ahead
        results = {str(index): list(each) for index, each in enumerate(values)}
        pairs = [(str(index), "0") for index in range(1, others + 1)]
        found += compare_pairs(results, pairs)[0].verdict == "better"
    # Four standard errors of 300 draws.
    assert found / 300 == pytest.approx(0.8, abs=0.095)


def test_too_few_seeds_find_nothing() -> None:
    assert detectable(5, 1, 0.05) == math.inf
    assert detectable(6, 1, 0.05) < math.inf


def test_more_pairs_and_fewer_seeds_find_less() -> None:
    assert detectable(10, 1, 0.05) < detectable(10, 4, 0.05) < detectable(10, 22, 0.05) < detectable(10, 253, 0.05)
    assert detectable(30, 4, 0.05) < detectable(12, 4, 0.05) < detectable(8, 4, 0.05)


def test_thousands_of_pairs_and_six_seeds_have_an_answer() -> None:
    assert detectable(6, 253, 0.05) < detectable(6, 5000, 0.05) < 1000
