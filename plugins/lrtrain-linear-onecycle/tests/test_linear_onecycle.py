"""Linear one-cycle against straight lines by NumPy and against optax; shares are exact, and no phase is lost."""

import jax
import numpy as np
import optax
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table


class TestLinearOnecycle(SchedulePluginSuite):
    plugin = "linear-onecycle"
    specs = ("linear-onecycle(pct_start=29%, pct_final=58%)",)


@pytest.mark.parametrize(("steps", "start", "final", "at"), [
    (100, "0.25", "0.7", (25, 70)), (100, "1%", "99%", (1, 99)), (60, "0.5", "0.6", (30, 36)),
    (300, "0.1", "0.2", (30, 60)), (3, "0.4", "0.9", (1, 2)),
])  # fmt: skip
def test_straight_lines(steps, start, final, at):
    shares, factors = f"pct_start={start}, pct_final={final}", "div_factor=20, final_div_factor=100"
    got = table(f"linear-onecycle(transition_steps={steps}, peak_value=1, {shares}, {factors})")
    points = np.interp(np.arange(100), [0, *at, steps], [1 / 20, 1, 1 / 20, 1 / 2000])
    np.testing.assert_allclose(got, points, rtol=1e-6)


def test_default_is_that_of_optax():
    raw = optax.linear_onecycle_schedule(transition_steps=2350, peak_value=1e-4)
    np.testing.assert_allclose(table("linear-onecycle", 2350), jax.vmap(raw)(np.arange(2350)), rtol=1e-5, atol=1e-11)


@pytest.mark.parametrize("hundredths", [1, 50, *(n for n in range(1, 99) if int(n / 100 * 100) != n)])
def test_shares_are_exact_where_a_product_of_floats_is_not(hundredths):
    start, final = hundredths / 100, (hundredths + 1) / 100
    rate = lrtrain.schedule(f"linear-onecycle(peak_value=1, pct_start={start}, pct_final={final})", total_steps=100)
    values = np.asarray(rate(np.arange(100)))
    assert int(values.argmax()) == hundredths
    assert values[hundredths + 1] == pytest.approx(1 / 25)


def test_the_end_is_divided_by_both_factors():
    rate = lrtrain.schedule("linear-onecycle(peak_value=1, div_factor=8, final_div_factor=32)", total_steps=10)
    assert float(rate(0)) == pytest.approx(1 / 8)
    assert float(rate(10)) == float(rate(99)) == pytest.approx(1 / (8 * 32))


def test_equal_shares_would_lose_the_peak_in_optax():
    raw = jax.vmap(optax.linear_onecycle_schedule(100, 1.0, pct_start=0.3, pct_final=0.3))(np.arange(100))
    assert float(np.max(raw)) <= 0.05


@pytest.mark.parametrize("total_steps", [2, 3])
def test_a_rise_of_no_step_begins_at_the_peak(total_steps):
    assert table("linear-onecycle(peak_value=1)", total_steps)[0] == 1


@pytest.mark.parametrize(("options", "message"), [
    ("transition_steps=0", "transition_steps=0 is 0 steps in a run of 100: give at least 1 step"),
    ("pct_start=0", "pct_start=0.* leave a phase without a step: give 0 < pct_start < pct_final < 1"),
    ("pct_final=1", "pct_start=0.3 and pct_final=1.* leave a phase without a step"),
    ("pct_start=0.85", "pct_start=0.85 and pct_final=0.85 leave a phase without a step"),
    ("pct_start=0.9", "pct_start=0.9 and pct_final=0.85 leave a phase without a step"),
    ("pct_start=0.251, pct_final=0.259", "are both step 25 of a cycle of 100: give them further apart, or a longer"),
    ("pct_final=170%", "is more than the whole run"),
    ("div_factor=0", "div_factor=0 is refused: expected number > 0"),
    ("pct_end=0.9", "no option 'pct_end'"),
])  # fmt: skip
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"linear-onecycle({options})")


def test_a_run_of_one_step_is_refused():
    with pytest.raises(
        lrtrain.UsageError, match="are both step 0 of a cycle of 1: give them further apart, or a longer"
    ):
        table("linear-onecycle", 1)
