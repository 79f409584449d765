"""The power scheduler against the paper's three phases, and the bound that it predicts."""

import math

import numpy as np
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table

STEPS = (0, 5, 10, 25, 50, 79, 80, 81, 90, 99)


class TestPower(SchedulePluginSuite):
    plugin = "power"
    specs = (
        "power(warmup_steps=0, decay_steps=0, peak_value=1)",
        "power(peak_value=0.02, amplitude=4, example_size=4096, warmup_steps=5%, decay_steps=29%, end_value=1e-4)",
    )


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (
            "peak_value=1, amplitude=4, exponent=-0.5, batch_size=1, warmup_steps=0, decay_steps=0",
            [1, 1, 1, 0.8, 0.5656854, 0.4500352, 0.4472136, 0.4444444, 0.4216370, 0.4020151],
        ),
    ],
)
def test_reference_values(options, values):
    np.testing.assert_allclose(table(f"power({options})")[list(STEPS)], values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("total", [1, 2, 7, 100, 235, 1001])
@pytest.mark.parametrize("batch", [1, 256])
@pytest.mark.parametrize("percent", [0, 20])
def test_every_step(total, batch, percent):
    got = table(
        f"power(peak_value=0.02, amplitude=1e-3, batch_size={batch}, example_size=3, end_value=1e-5, "
        f"warmup_steps={percent}%, decay_steps={percent}%)",
        total,
    )
    phase = percent * total // 100

    def power(step: int) -> float:
        seen = 3 * batch * max(step, 1)
        return min(0.02, math.exp(math.log(batch) + math.log(1e-3) - 0.51 * math.log(seen)))

    expected = [power(step) for step in range(total)]
    expected[:phase] = [power(phase) * step / phase for step in range(phase)]
    top = power(total - phase)
    for left in range(1, phase + 1):
        expected[total - left] = 1e-5 + (top - 1e-5) * left / phase
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_it_predicts_the_papers_example():
    """Section 3: 10 trillion tokens and a batch of 1,024 give 0.0011, with a = 4.6 and b = -0.51."""
    options = "peak_value=0.02, amplitude=4.6, batch_size=1024, example_size=976562500, warmup_steps=0, decay_steps=0"
    step = 10  # 1024 * 976,562,500 * 10 is 10 trillion
    assert round(float(table(f"power({options})", 100)[step]), 4) == 0.0011


def test_at_the_same_amount_of_data_the_rate_is_proportional_to_the_batch():
    options = "peak_value=10, warmup_steps=0, decay_steps=0"
    small, large = table(f"power({options}, batch_size=16)"), table(f"power({options}, batch_size=64)")
    np.testing.assert_allclose(4 * small[4::4], large[1:25], rtol=1e-6)


def test_the_beginning_does_not_depend_on_the_length_of_the_run():
    options = "peak_value=1, warmup_steps=10, decay_steps=20"
    np.testing.assert_array_equal(table(f"power({options})", 100)[:81], table(f"power({options})", 500)[:81])


def test_the_end_is_one_step_after_the_run():
    rate = lrtrain.schedule("power(end_value=1e-5)", total_steps=100)
    assert float(rate(99)) > 1.1e-5
    assert math.isclose(float(rate(100)), 1e-5, rel_tol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("exponent=0.5", "exponent=0.5 is over 0, and the power would rise: give at most 0"),
        (
            "warmup_steps=60, decay_steps=50%",
            "warmup_steps=60 and decay_steps=50% are 110 steps together, and the run has 100: make one",
        ),
        ("batch_size=0", "batch_size=0 is refused: expected whole number >= 1"),
        ("tokens=3", "no option 'tokens'"),
    ],
)
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"power({options})")
