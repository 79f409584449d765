"""Warmup and constant against NumPy's interpolation; a warmup of 0 steps is none."""

import numpy as np
import optax
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table


class TestWarmupConstant(SchedulePluginSuite):
    plugin = "warmup-constant"
    specs = ("warmup-constant(warmup_steps=0)",)


@pytest.mark.parametrize("warmup", [1, 7, 100, 300])
@pytest.mark.parametrize("init", [0, 0.1, 2])
def test_straight_line_then_constant(warmup, init):
    got = table(f"warmup-constant(init_value={init}, peak_value=0.5, warmup_steps={warmup})")
    np.testing.assert_allclose(got, np.interp(np.arange(100), [0, warmup], [init, 0.5]), rtol=2e-7, atol=1e-12)


def test_default_is_a_tenth_of_the_run():
    np.testing.assert_array_equal(
        table("warmup-constant", 2350),
        table("warmup-constant(init_value=0, peak_value=3e-4, warmup_steps=235)", 2350),
    )


def test_a_warmup_of_no_step_is_none():
    """optax stays at init_value for ever, so with 0 there it never trains."""
    raw = optax.warmup_constant_schedule(0.0, 0.5, warmup_steps=0)
    assert float(raw(99)) == 0
    np.testing.assert_array_equal(
        table("warmup-constant(init_value=0, peak_value=0.5, warmup_steps=0)"), np.full(100, np.float32(0.5))
    )


def test_a_fall_to_zero_ends_at_zero():
    assert not table("warmup-constant(init_value=1, peak_value=0, warmup_steps=50)")[50:].any()


def test_a_share_that_comes_to_no_step_is_no_warmup():
    np.testing.assert_array_equal(table("warmup-constant(peak_value=0.5)", 4), np.full(4, np.float32(0.5)))


@pytest.mark.parametrize(("options", "message"), [
    ("warmup_steps=-1", "-1.* is not a duration"),
    ("warmup_steps=101%", "is more than the whole run"),
    ("peak_value=none", "peak_value=none is refused: expected number >= 0"),
    ("warmup=10", r"no option 'warmup' \(did you mean 'warmup_steps'\?\)"),
])  # fmt: skip
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"warmup-constant({options})")
