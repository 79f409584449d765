"""Cosine decay against its closed form and against optax."""

import jax
import numpy as np
import optax
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table


class TestCosineDecay(SchedulePluginSuite):
    plugin = "cosine-decay"
    specs = ("cosine-decay(init_value=1, alpha=0, decay_steps=50%)",)


def closed_form(init: float, steps: int, alpha: float, exponent: float, total_steps: int) -> np.ndarray:
    x = np.minimum(np.arange(total_steps), steps) / steps
    return init * (alpha + (1 - alpha) * ((1 + np.cos(np.pi * x)) / 2) ** exponent)


@pytest.mark.parametrize("steps", [1, 7, 300])
@pytest.mark.parametrize(("alpha", "exponent"), [(0, 1), (0.95, 0.5), (0.1, 2.5)])
def test_closed_form(steps, alpha, exponent):
    got = table(f"cosine-decay(init_value=0.2, decay_steps={steps}, alpha={alpha}, exponent={exponent})")
    np.testing.assert_allclose(got, closed_form(0.2, steps, alpha, exponent, 100), rtol=2e-7, atol=1e-10)


def test_default_falls_to_zero_over_the_run():
    raw = jax.vmap(optax.cosine_decay_schedule(1e-4, decay_steps=2350))(np.arange(2350))
    np.testing.assert_allclose(table("cosine-decay", 2350), raw, rtol=1e-5, atol=1e-11)


def test_the_end_is_one_step_after_the_run():
    values = table("cosine-decay(init_value=1, alpha=0)")
    rate = lrtrain.schedule("cosine-decay(init_value=1, alpha=0)", total_steps=100)
    assert values[0] == 1
    assert values[-1] > 0
    assert float(rate(100)) == float(rate(1000)) == 0


def test_alpha_may_be_a_percentage():
    np.testing.assert_array_equal(table("cosine-decay(alpha=10%)"), table("cosine-decay(alpha=0.1)"))


def test_a_shorter_run_is_the_beginning_of_a_longer_one():
    np.testing.assert_array_equal(
        table("cosine-decay(decay_steps=80)", 30), table("cosine-decay(decay_steps=80)", 100)[:30]
    )


@pytest.mark.parametrize(("options", "message"), [
    ("decay_steps=0", "decay_steps=0 is 0 steps in a run of 100: give at least 1 step"),
    ("decay_steps=0.5%", r"decay_steps=0.5% is 0 steps in a run of 100"),
    ("decay_steps=101%", "101%.* is more than the whole run"),
    ("decay_steps=-3", "-3.* is not a duration"),
    ("alpha=1.5", r"alpha=1.5 is refused: expected number >= 0 and <= 1"),
    ("exponent=0", "exponent=0 is refused: expected number > 0"),
    ("init_value=-1", "init_value=-1 is refused: expected number >= 0"),
    ("decay_step=10", r"no option 'decay_step' \(did you mean 'decay_steps'\?\)"),
])  # fmt: skip
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"cosine-decay({options})")
