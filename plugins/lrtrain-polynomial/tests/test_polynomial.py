"""The polynomial against its closed form and against optax."""

import jax
import numpy as np
import optax
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table


class TestPolynomial(SchedulePluginSuite):
    plugin = "polynomial"
    specs = ("polynomial(power=2, end_value=0, transition_begin=0)",)


@pytest.mark.parametrize(("steps", "begin"), [(1, 99), (50, 0), (50, 20), (300, 20)])
@pytest.mark.parametrize(("end", "power"), [(0, 0.5), (0.3, 1), (2, 3)])
def test_closed_form(steps, begin, end, power):
    got = table(
        f"polynomial(init_value=1, end_value={end}, power={power}, transition_steps={steps}, transition_begin={begin})"
    )
    left = 1 - np.clip(np.arange(100) - begin, 0, steps) / steps
    np.testing.assert_allclose(got, end + (1 - end) * left**power, rtol=2e-7, atol=1e-12)


def test_default_falls_to_zero_over_the_run():
    raw = optax.polynomial_schedule(1e-4, 0, power=0.9, transition_steps=2350)
    np.testing.assert_allclose(table("polynomial", 2350), jax.vmap(raw)(np.arange(2350)), rtol=1e-5, atol=1e-11)


def test_the_end_is_reached_at_begin_and_length_together():
    rate = lrtrain.schedule("polynomial(init_value=1, transition_begin=20%, transition_steps=80%)", total_steps=100)
    assert float(rate(99)) > 0
    assert float(rate(100)) == 0


@pytest.mark.parametrize("steps", [3, 50, 59])
def test_the_end_is_exact_where_compiled_optax_gives_nan(steps):
    rate = lrtrain.schedule(
        f"polynomial(init_value=1, end_value=0.25, power=0.5, transition_steps={steps}, transition_begin=0)",
        total_steps=100,
    )
    assert float(jax.jit(rate)(np.int32(steps))) == float(rate(99)) == 0.25


@pytest.mark.parametrize(("options", "message"), [
    ("transition_steps=0", "transition_steps=0 is 0 steps in a run of 100: give at least 1 step"),
    ("power=0", "power=0 is refused: expected number > 0"),
    ("power=-1", "power=-1 is refused: expected number > 0"),
    ("transition_begin=-1", "-1.* is not a duration"),
    ("exponent=2", "no option 'exponent'"),
])  # fmt: skip
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"polynomial({options})")
