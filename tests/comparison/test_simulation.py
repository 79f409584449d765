"""The promises of the protocol, tuning included, in simulated comparisons whose truth is known; a few of each kind."""

from __future__ import annotations

import pytest

from lrtrain.comparison.plan import BUDGETS
from tests.comparison.simulation import Truth, false_claims_at_most, rates

COMPARISONS = 150


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["parabola", "lopsided"])
@pytest.mark.parametrize("budget", ["quick", "standard", "thorough"])
def test_schedules_that_are_equal_at_their_best_are_called_equal(budget: str, shape: str) -> None:
    found = rates(Truth(5, 0.3, shape), BUDGETS[budget], COMPARISONS, seed=1)
    assert found.false * COMPARISONS <= false_claims_at_most(COMPARISONS)


@pytest.mark.slow
def test_a_schedule_that_is_better_by_three_tenths_of_a_point_is_found() -> None:
    found = rates(Truth(5, 0.3, ahead=0.3), BUDGETS["standard"], COMPARISONS, seed=2)
    assert found.power >= 0.65
    assert found.false * COMPARISONS <= false_claims_at_most(COMPARISONS)


@pytest.mark.slow
def test_what_is_decided_is_not_trained_to_the_end() -> None:
    found = rates(Truth(5, 0.3, ahead=-1.0), BUDGETS["thorough"], 20, seed=3)
    assert found.measuring < 24
    assert found.power > 0.9


@pytest.mark.slow
def test_many_pairs_and_many_looks_are_corrected_for() -> None:
    found = rates(Truth(23, 1.0), BUDGETS["thorough"], 60, seed=4)
    assert found.false * 60 <= false_claims_at_most(60)
