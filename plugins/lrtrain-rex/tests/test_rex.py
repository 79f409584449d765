"""REX against reference values and its closed form."""

import math

import numpy as np
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table

STEPS = (0, 5, 10, 25, 50, 79, 80, 81, 90, 99)


class TestREX(SchedulePluginSuite):
    plugin = "rex"
    specs = (
        "rex(beta=0.9, warmup_steps=29%)",
        "rex(init_value=0.1, peak_value=1, end_value=0.2, beta=0, warmup_steps=5)",
    )


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ("peak_value=1", [1, 0.97436, 0.94737, 0.85714, 0.66667, 0.34711, 0.33333, 0.31933, 0.18182, 0.01980]),
        (
            "peak_value=1, beta=0.9",
            [1, 0.99476, 0.98901, 0.96774, 0.90909, 0.72664, 0.71429, 0.70111, 0.52632, 0.09174],
        ),
    ],
)
def test_reference_values(options, values):
    np.testing.assert_allclose(table(f"rex({options})")[list(STEPS)], values, rtol=0, atol=6e-6)


@pytest.mark.parametrize("total", [1, 2, 7, 100, 235, 1001])
@pytest.mark.parametrize("beta", [0, 0.5, 0.9])
@pytest.mark.parametrize("percent", [0, 20])
def test_every_step(total, beta, percent):
    warmup = percent * total // 100
    got = table(f"rex(init_value=0.1, peak_value=2, end_value=0.5, beta={beta}, warmup_steps={percent}%)", total)
    expected = [0.1 + 1.9 * step / warmup for step in range(warmup)]
    for step in range(warmup, total):
        # The paper's form with 1 / (1 - x) split off: 1 / (beta + (1 - beta) / (1 - x)).
        expected.append(0.5 + 1.5 / (beta + (1 - beta) * (total - warmup) / (total - step)))
    np.testing.assert_allclose(got, expected, rtol=2e-7)


def test_without_beta_it_is_a_straight_line():
    np.testing.assert_allclose(table("rex(peak_value=1, beta=0)"), 1 - np.arange(100) / 100, rtol=2e-7)


def test_the_end_is_one_step_after_the_run():
    rate = lrtrain.schedule("rex(peak_value=1, end_value=0.25)", total_steps=100)
    assert float(rate(99)) > 0.25
    assert float(rate(100)) == float(rate(1000)) == 0.25


def test_a_run_of_one_step_has_the_peak():
    assert math.isclose(table("rex(peak_value=0.5)", 1)[0], 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("beta=1", "beta=1.* never falls: give a beta under 1"),
        ("beta=1.5", "beta=1.5 is refused"),
        ("warmup_steps=100", "warmup_steps=100 is 100 steps, and the run has 100: leave a step to decay"),
        ("power=2", "no option 'power'"),
    ],
)
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"rex({options})")
