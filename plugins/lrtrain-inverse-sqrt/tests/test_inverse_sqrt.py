"""The inverse square root against reference values, both reference formulas, and its closed form."""

import math

import numpy as np
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table

STEPS = (0, 5, 10, 25, 50, 79, 80, 81, 90, 99)


class TestInverseSqrt(SchedulePluginSuite):
    plugin = "inverse-sqrt"
    specs = (
        "inverse-sqrt(warmup_steps=0, timescale=20%)",
        "inverse-sqrt(peak_value=1, warmup_steps=5%, timescale=10000, cooldown_steps=29%)",
    )


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ("peak_value=1, warmup_steps=10", [0, 0.5, 1, 0.63246, 0.44721, 0.35578, 0.35355, 0.35136, 0.33333, 0.31782]),
        (
            "peak_value=1, warmup_steps=10, timescale=25",
            [0, 0.5, 1, 0.79057, 0.62017, 0.51571, 0.51299, 0.51031, 0.48795, 0.46829],
        ),
    ],
)
def test_reference_values(options, values):
    np.testing.assert_allclose(table(f"inverse-sqrt({options})")[list(STEPS)], values, rtol=0, atol=6e-6)


@pytest.mark.parametrize("total", [1, 2, 7, 100, 235, 1001])
@pytest.mark.parametrize(("warmup", "timescale"), [(0, 10), (1, 3), (20, 50)])
@pytest.mark.parametrize("cooldown", [0, 20])
def test_every_step(total, warmup, timescale, cooldown):
    warmup, cooldown = warmup * total // 100, cooldown * total // 100
    got = table(
        f"inverse-sqrt(peak_value=2, warmup_steps={warmup}, timescale={timescale}, cooldown_steps={cooldown})",
        total_steps=total,
    )
    expected = []
    for step in range(total):
        value = 2 * math.exp(-math.log1p(max(step - warmup, 0) / timescale) / 2)
        value *= min(1, step / warmup) if warmup else 1
        expected.append(value * (min(1, (total - step) / cooldown) if cooldown else 1))
    np.testing.assert_allclose(got, expected, rtol=2e-7)


def test_the_timescale_is_the_warmup_or_10000():
    np.testing.assert_array_equal(
        table("inverse-sqrt(warmup_steps=20)"), table("inverse-sqrt(warmup_steps=20, timescale=20)")
    )
    np.testing.assert_array_equal(
        table("inverse-sqrt(warmup_steps=0)"), table("inverse-sqrt(warmup_steps=0, timescale=10000)")
    )


def test_the_beginning_does_not_depend_on_the_length_of_the_run():
    np.testing.assert_array_equal(
        table("inverse-sqrt(warmup_steps=10)"), table("inverse-sqrt(warmup_steps=10)", 500)[:100]
    )


def test_the_cooldown_ends_at_zero_just_after_the_run():
    rate = lrtrain.schedule("inverse-sqrt(cooldown_steps=20%)", total_steps=100)
    assert float(rate(99)) > 0
    assert float(rate(100)) == float(rate(1000)) == 0


def test_the_warmup_begins_at_init_value():
    assert table("inverse-sqrt(init_value=0.25, peak_value=1)")[0] == 0.25


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("timescale=0", "timescale=0 is 0 steps in a run of 100: give at least 1 step"),
        (
            "warmup_steps=60, cooldown_steps=50%",
            "warmup_steps=60 and cooldown_steps=50% are 110 steps together, and the run has 100: make one",
        ),
        ("peak_value=-1", "peak_value=-1 is refused: expected number >= 0"),
        ("shift=3", "no option 'shift'"),
    ],
)
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"inverse-sqrt({options})")
