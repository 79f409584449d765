"""Warmup and exponential decay against their closed form and against optax; stairs drop on time."""

import jax
import numpy as np
import optax
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table

LATE = [41, 47, 55, 61, 82, 83, 94, 97, 235, 237, 470]
"""Lengths of a stair at which optax, compiled, is a step late."""


class TestWarmupExponentialDecay(SchedulePluginSuite):
    plugin = "warmup-exponential-decay"
    specs = ("warmup-exponential-decay(transition_steps=20%, warmup_steps=0, transition_begin=0, staircase=true)",)


@pytest.mark.parametrize("warmup", [0, 1, 20, 300])
@pytest.mark.parametrize(("steps", "begin", "rate"), [(1, 0, 0.9), (30, 10, 0.5), (300, 0, 1.2)])
def test_closed_form(warmup, steps, begin, rate):
    got = table(
        f"warmup-exponential-decay(init_value=0.1, peak_value=1, warmup_steps={warmup}, transition_steps={steps}, "
        f"decay_rate={rate}, transition_begin={begin}, end_value=none)"
    )
    count = np.arange(100)
    decay = rate ** (np.maximum(count - warmup - begin, 0) / steps)
    np.testing.assert_allclose(got, np.where(count < warmup, 0.1 + 0.9 * count / max(warmup, 1), decay), rtol=2e-7)


def test_default_goes_up_from_zero_and_falls_to_a_hundredth():
    raw = optax.warmup_exponential_decay_schedule(0, 3e-4, warmup_steps=235, transition_steps=2115, decay_rate=0.01)
    values = jax.vmap(raw)(np.arange(2350))
    np.testing.assert_allclose(table("warmup-exponential-decay", 2350), values, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize("warmup", [0, 13])
def test_stairs_drop_on_time_when_compiled(warmup):
    schedules, counts = [], []
    for steps in LATE:
        spec = (
            f"warmup-exponential-decay(peak_value=1, warmup_steps={warmup}, transition_steps={steps}, decay_rate=0.5)"
        )
        options = {"transition_begin": 7, "staircase": True, "end_value": 0}
        spec = {**lrtrain.Spec.of(spec).table(), **options}
        schedules.append(lrtrain.schedule(spec, total_steps=5000))
        counts.append(warmup + 7 + np.array([steps - 1, steps, 2 * steps - 1, 2 * steps, 3 * steps], np.int32))
    values = jax.jit(lambda *each: [rate(count) for rate, count in zip(schedules, each, strict=True)])(*counts)
    np.testing.assert_array_equal(values, [[1, 0.5, 0.5, 0.25, 0.125]] * len(LATE))


def test_stairs_drop_on_time_in_the_table():
    options = "init_value=0.5, peak_value=1, warmup_steps=100, transition_steps=235, decay_rate=0.5"
    got = table(f"warmup-exponential-decay({options}, transition_begin=50, staircase=true, end_value=0.2)", 2350)
    count = np.arange(2350)
    stairs = np.maximum(0.5 ** (np.maximum(count - 150, 0) // 235), 0.2)
    np.testing.assert_allclose(got, np.where(count < 100, 0.5 + count / 200, stairs), rtol=2e-7)


def test_the_begin_counts_from_the_end_of_the_warmup():
    values = table("warmup-exponential-decay(peak_value=1, warmup_steps=20, transition_begin=30)")
    assert values[50] == 1 > values[51]


def test_a_warmup_of_no_step_begins_at_the_peak():
    assert table("warmup-exponential-decay(init_value=0, peak_value=1, warmup_steps=0)")[0] == 1
    assert table("warmup-exponential-decay(init_value=0, peak_value=1)", 4)[0] == 1


@pytest.mark.parametrize(("options", "message"), [
    ("transition_steps=0", "transition_steps=0 is 0 steps in a run of 100: give at least 1 step"),
    ("decay_rate=0", "decay_rate=0 is refused: expected number > 0"),
    ("end_value=1", "end_value=1.* is over peak_value=0.0003.*: give at most 0.0003, or none"),
    ("decay_rate=1.5, end_value=1e-5", "end_value=1e-05 is under peak_value=0.0003.*: give at least 0.0003, or none"),
    ("warmup_steps=-1", "-1.* is not a duration"),
    ("decay_steps=10", "no option 'decay_steps'"),
])  # fmt: skip
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"warmup-exponential-decay({options})")
