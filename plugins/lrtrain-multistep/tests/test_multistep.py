"""Milestones against a count of their own."""

import math

import numpy as np
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table

STEPS = (0, 5, 10, 25, 50, 79, 80, 81, 90, 99)


class TestMultistep(SchedulePluginSuite):
    plugin = "multistep"
    specs = (
        "multistep(milestones=[7, 29%, 5000], gamma=0.5, init_value=1)",
        "multistep(milestones=[50%], gamma=3)",
    )


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ("init_value=1", [1, 1, 1, 1, 0.1, 0.01, 0.01, 0.01, 0.001, 0.001]),
        ("init_value=1, milestones=[80], gamma=0.5", [1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]),
    ],
)
def test_reference_values(options, values):
    np.testing.assert_allclose(table(f"multistep({options})")[list(STEPS)], values, rtol=0, atol=6e-6)


@pytest.mark.parametrize("total", [4, 7, 100, 235, 1001])
@pytest.mark.parametrize("gamma", [0.1, 0.316, 2])
def test_every_step(total, gamma):
    got = table(f"multistep(init_value=0.5, gamma={gamma})", total)
    first, second, third = (3 * total // 10, 6 * total // 10, 9 * total // 10)
    lengths = (first, second - first, third - second, total - third)
    expected = [0.5 * math.prod([gamma] * passed) for passed, length in enumerate(lengths) for _ in range(length)]
    np.testing.assert_allclose(got, expected, rtol=2e-7)


def test_a_run_of_one_step_with_a_milestone_after_it():
    assert table("multistep(init_value=0.5, milestones=[1000])", 1).tolist() == [0.5]


def test_milestones_in_epochs():
    np.testing.assert_array_equal(
        table("multistep(milestones=[2ep, 3ep])", 100, 10), table("multistep(milestones=[20, 30])")
    )


@pytest.mark.parametrize("total", [1, 3])
def test_a_run_too_short_for_the_default_is_refused(total):
    with pytest.raises(lrtrain.UsageError, match="30% is step 0, not after step 0"):
        table("multistep", total)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("milestones=[]", "has no milestone: give at least one"),
        ("milestones=[50, 50%]", "50% is step 50, not after the milestone before it at step 50"),
        ("milestones=[60, 30]", "30 is step 30, not after the milestone before it at step 60"),
        ("milestones=[0]", "0 is step 0, not after step 0"),
        ("gamma=0", "gamma=0 is refused: expected number > 0"),
        ("boundaries=[3]", "no option 'boundaries'"),
    ],
)
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"multistep({options})")
