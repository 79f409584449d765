"""Cosine one-cycle against its closed form and against optax; shares are exact, and no phase is lost."""

import jax
import numpy as np
import optax
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table


class TestCosineOnecycle(SchedulePluginSuite):
    plugin = "cosine-onecycle"
    specs = ("cosine-onecycle(pct_start=29%, peak_value=0.1)",)


def closed_form(steps: int, rise: int, div: float, final: float, total_steps: int) -> np.ndarray:
    count = np.arange(total_steps)
    up = 1 + (1 / div - 1) * (1 + np.cos(np.pi * count / max(rise, 1))) / 2
    x = np.minimum((count - rise) / (steps - rise), 1)
    end = 1 / (div * final)
    down = end + (1 - end) * (1 + np.cos(np.pi * x)) / 2
    return np.where(count < rise, up, down)


@pytest.mark.parametrize(("steps", "pct_start", "rise"), [
    (100, "0.3", 30), (100, "50%", 50), (80, "0.01", 0), (300, "0.2", 60), (2, "0.5", 1), (100, "0.999", 99),
])  # fmt: skip
def test_closed_form(steps, pct_start, rise):
    options = f"transition_steps={steps}, pct_start={pct_start}, peak_value=1, div_factor=20, final_div_factor=50"
    np.testing.assert_allclose(table(f"cosine-onecycle({options})"), closed_form(steps, rise, 20, 50, 100), rtol=1e-6)


def test_default_is_that_of_optax():
    raw = optax.cosine_onecycle_schedule(transition_steps=2350, peak_value=1e-4)
    np.testing.assert_allclose(table("cosine-onecycle", 2350), jax.vmap(raw)(np.arange(2350)), rtol=1e-5, atol=1e-11)


@pytest.mark.parametrize("hundredths", [1, 50, 99, *(n for n in range(1, 99) if int(n / 100 * 100) != n)])
def test_shares_are_exact_where_a_product_of_floats_is_not(hundredths):
    rate = lrtrain.schedule(f"cosine-onecycle(peak_value=1, pct_start={hundredths / 100})", total_steps=100)
    values = np.asarray(rate(np.arange(100)))
    assert int(values.argmax()) == hundredths


def test_optax_itself_rounds_29_hundredths_down():
    raw = jax.vmap(optax.cosine_onecycle_schedule(100, 1.0, pct_start=0.29))(np.arange(100))
    assert int(np.argmax(raw)) == 28


def test_the_end_is_divided_by_both_factors():
    rate = lrtrain.schedule("cosine-onecycle(peak_value=1, div_factor=8, final_div_factor=32)", total_steps=10)
    assert float(rate(0)) == pytest.approx(1 / 8)
    assert float(rate(10)) == float(rate(99)) == pytest.approx(1 / (8 * 32))


@pytest.mark.parametrize("total_steps", [1, 2, 3, 4])
def test_a_rise_of_no_step_begins_at_the_peak(total_steps):
    assert table("cosine-onecycle(peak_value=1, pct_start=20%)", total_steps)[0] == 1


@pytest.mark.parametrize(("options", "message"), [
    ("transition_steps=0", "transition_steps=0 is 0 steps in a run of 100: give at least 1 step"),
    ("pct_start=0", "pct_start=0.* leaves no step to go up in: give a share between 0 and 1"),
    ("pct_start=1", "pct_start=1.* leaves no step to go down in: give a share between 0 and 1"),
    ("pct_start=100%", "pct_start=1.* leaves no step to go down in"),
    ("pct_start=1.2", "pct_start=1.2 is refused: expected number >= 0 and <= 1"),
    ("div_factor=0", "div_factor=0 is refused: expected number > 0"),
    ("final_div_factor=-1", "final_div_factor=-1 is refused: expected number > 0"),
    ("peak_valu=1", r"no option 'peak_valu' \(did you mean 'peak_value'\?\)"),
])  # fmt: skip
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"cosine-onecycle({options})")
