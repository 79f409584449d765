"""Warmup and cosine against their closed form and against optax; decay_steps includes the warmup."""

import jax
import numpy as np
import optax
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table


class TestWarmupCosineDecay(SchedulePluginSuite):
    plugin = "warmup-cosine-decay"
    specs = ("warmup-cosine-decay(warmup_steps=29%, exponent=2)",)


def closed_form(init: float, warmup: int, steps: int, end: float, exponent: float) -> np.ndarray:
    count = np.arange(100)
    x = np.clip(count - warmup, 0, steps - warmup) / (steps - warmup)
    falling = end + (1 - end) * ((1 + np.cos(np.pi * x)) / 2) ** exponent
    return np.where(count < warmup, init + (1 - init) * count / max(warmup, 1), falling)


@pytest.mark.parametrize(("warmup", "steps"), [(0, 100), (1, 2), (99, 100), (10, 50), (150, 300)])
@pytest.mark.parametrize(("init", "end", "exponent"), [(0, 0, 1), (1.5, 0.5, 0.5)])
def test_closed_form(warmup, steps, init, end, exponent):
    got = table(
        f"warmup-cosine-decay(init_value={init}, peak_value=1, warmup_steps={warmup}, decay_steps={steps}, "
        f"end_value={end}, exponent={exponent})"
    )
    np.testing.assert_allclose(got, closed_form(init, warmup, steps, end, exponent), rtol=2e-7, atol=1e-8)


def test_default_goes_up_from_zero_and_down_to_it():
    raw = optax.warmup_cosine_decay_schedule(0, 3e-4, warmup_steps=235, decay_steps=2350)
    np.testing.assert_allclose(
        table("warmup-cosine-decay", 2350), jax.vmap(raw)(np.arange(2350)), rtol=1e-5, atol=1e-11
    )


def test_decay_steps_includes_the_warmup():
    rate = lrtrain.schedule(
        "warmup-cosine-decay(peak_value=1, warmup_steps=20, decay_steps=60, end_value=0.5)", total_steps=100
    )
    assert float(rate(20)) == 1
    assert float(rate(59)) > 0.5
    assert float(rate(60)) == float(rate(99)) == 0.5


def test_a_warmup_of_no_step_begins_at_the_peak():
    assert table("warmup-cosine-decay(init_value=0, peak_value=1, warmup_steps=0)")[0] == 1
    assert table("warmup-cosine-decay(init_value=0, peak_value=1)", 4)[0] == 1


def test_a_peak_of_zero():
    assert not table("warmup-cosine-decay(init_value=0, peak_value=0, end_value=0)").any()
    assert not table("warmup-cosine-decay(warmup_steps=0, peak_value=0, end_value=0)").any()


@pytest.mark.parametrize(("options", "message"), [
    ("warmup_steps=60, decay_steps=40", "decay_steps=40 is 40 steps, .* warmup_steps=60 takes 60: .* more than 60"),
    ("warmup_steps=100%", "decay_steps=100% is 100 steps, of which warmup_steps=100% takes 100"),
    ("warmup_steps=0, decay_steps=0", "decay_steps=0 is 0 steps, .*give more than 0"),
    ("peak_value=0, end_value=1e-5", "peak_value=0.* is 0 and end_value=1e-05 is not: give a peak_value over 0"),
    ("exponent=0", "exponent=0 is refused: expected number > 0"),
    ("alpha=0.1", "no option 'alpha'"),
])  # fmt: skip
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"warmup-cosine-decay({options})")
