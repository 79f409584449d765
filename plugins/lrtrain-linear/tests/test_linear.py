"""The straight line against NumPy's interpolation and against optax."""

import jax
import numpy as np
import optax
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table


class TestLinear(SchedulePluginSuite):
    plugin = "linear"
    specs = (
        "linear(init_value=1, end_value=0, transition_begin=0)",
        "linear(end_value=0, warmup_steps=10%, transition_begin=0, transition_steps=none)",
        "linear(init_value=0.1, end_value=1, warmup_steps=3, transition_begin=29%, transition_steps=none)",
    )


@pytest.mark.parametrize(("steps", "begin"), [(1, 99), (50, 0), (50, 20), (300, 20)])
@pytest.mark.parametrize("end", [0, 0.3, 2])
def test_straight_line(steps, begin, end):
    got = table(f"linear(init_value=1, end_value={end}, transition_steps={steps}, transition_begin={begin})")
    np.testing.assert_allclose(got, np.interp(np.arange(100), [begin, begin + steps], [1, end]), rtol=2e-7, atol=1e-12)


def test_reference_values_of_linear_to_zero():
    spec = "linear(init_value=1, end_value=0, warmup_steps=10, transition_begin=0, transition_steps=none)"
    rate = lrtrain.schedule(spec, total_steps=100)
    values = [0, 0.5, 1, 0.83333, 0.55556, 0.23333, 0.22222, 0.21111, 0.11111, 0.01111, 0]
    got = [float(rate(step)) for step in (0, 5, 10, 25, 50, 79, 80, 81, 90, 99, 100)]
    np.testing.assert_allclose(got, values, rtol=0, atol=6e-6)


@pytest.mark.parametrize(("warmup", "begin"), [(0, 0), (1, 0), (10, 20), (40, 59)])
@pytest.mark.parametrize("end", [0, 0.3, 2])
def test_a_line_to_the_end_of_the_run_after_a_warmup(warmup, begin, end):
    options = f"warmup_steps={warmup}, transition_begin={begin}, transition_steps=none"
    corners = {0: 1, **({0: 0, warmup: 1} if warmup else {}), warmup + begin: 1, 100: end}
    expected = np.interp(np.arange(100), list(corners), list(corners.values()))
    got = table(f"linear(init_value=1, end_value={end}, {options})")
    np.testing.assert_allclose(got, expected, rtol=2e-7, atol=1e-12)


def test_the_line_begins_and_ends_later_by_the_warmup():
    options = "init_value=1, transition_steps=30, transition_begin=20"
    np.testing.assert_array_equal(table(f"linear({options}, warmup_steps=10)")[10:], table(f"linear({options})")[:90])


def test_default_falls_to_zero_over_the_run():
    raw = optax.linear_schedule(1e-4, 0, transition_steps=2350)
    np.testing.assert_allclose(table("linear", 2350), jax.vmap(raw)(np.arange(2350)), rtol=1e-5, atol=1e-11)


@pytest.mark.parametrize("options", ["", ", transition_begin=25%, transition_steps=75%", ", transition_begin=25%"])
def test_a_line_ends_with_the_run(options):
    rate = lrtrain.schedule(f"linear(init_value=1{options})", total_steps=100)
    assert float(rate(99)) > 0
    assert float(rate(100)) == 0


@pytest.mark.parametrize("steps", [3, 50, 59])
def test_the_end_is_no_rounding_error_below_zero(steps):
    rate = lrtrain.schedule(f"linear(end_value=0, transition_steps={steps}, transition_begin=0)", total_steps=100)
    assert float(jax.jit(rate)(np.int32(steps))) == float(rate(99)) == 0


def test_durations_in_epochs():
    np.testing.assert_array_equal(
        table("linear(transition_begin=2ep, transition_steps=3ep)", steps_per_epoch=10),
        table("linear(transition_begin=20, transition_steps=30)"),
    )


@pytest.mark.parametrize(("options", "message"), [
    ("transition_steps=0", "transition_steps=0 is 0 steps in a run of 100: give at least 1 step"),
    ("transition_steps=0%", "transition_steps=0% is 0 steps in a run of 100"),
    ("transition_begin=-1", "-1.* is not a duration"),
    (
        "warmup_steps=10, transition_begin=90%, transition_steps=none",
        "warmup_steps=10 and transition_begin=90% leave no step of 100 for the line: make one of them shorter",
    ),
    ("warmup_steps=none", "warmup_steps=none is refused: None is not a duration"),
    ("end_value=-1", "end_value=-1 is refused: expected number >= 0"),
    ("power=2", "no option 'power'"),
])  # fmt: skip
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"linear({options})")
