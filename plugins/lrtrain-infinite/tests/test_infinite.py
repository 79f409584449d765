"""The infinite learning rate against its four phases."""

import math

import numpy as np
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table

STEPS = (0, 5, 10, 25, 50, 79, 80, 81, 90, 99)


class TestInfinite(SchedulePluginSuite):
    plugin = "infinite"
    specs = (
        "infinite(warmup_steps=0, cooldown_steps=0, annealing_steps=0)",
        "infinite(peak_value=1, constant_value=0.3, end_value=0.01, cooldown_steps=29%, annealing_steps=57%)",
    )


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (
            "peak_value=1, constant_value=0.5, end_value=0.05, warmup_steps=10, cooldown_steps=40, annealing_steps=20",
            [0, 0.5, 1, 0.8456709, 0.5, 0.5, 0.5, 0.4456255, 0.1581139, 0.0561009],
        ),
    ],
)
def test_reference_values(options, values):
    np.testing.assert_allclose(table(f"infinite({options})")[list(STEPS)], values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("total", [1, 2, 7, 100, 235, 1001])
@pytest.mark.parametrize("phases", [(10, 30, 15), (0, 50, 50), (20, 0, 20), (20, 30, 0), (0, 0, 0)])
def test_every_step(total, phases):
    got = table(
        "infinite(init_value=0.1, peak_value=2, constant_value=1, end_value=0.2, "
        "warmup_steps={}%, cooldown_steps={}%, annealing_steps={}%)".format(*phases),
        total,
    )
    warmup, cooldown, annealing = (percent * total // 100 for percent in phases)
    values = [0.1 + 1.9 * step / warmup for step in range(warmup)]
    # Half a cosine is a squared one of half the angle.
    values += [1 + math.cos(math.pi * step / cooldown / 2) ** 2 for step in range(cooldown)]
    values += [1.0] * (total - warmup - cooldown - annealing)
    values += [0.2 ** (step / annealing) for step in range(annealing)]
    np.testing.assert_allclose(got, values, rtol=3e-7)


def test_the_beginning_does_not_depend_on_the_length_of_the_run():
    options = "warmup_steps=10, cooldown_steps=30, annealing_steps=20"
    np.testing.assert_array_equal(table(f"infinite({options})", 100)[:80], table(f"infinite({options})", 500)[:80])


def test_the_end_is_one_step_after_the_run():
    rate = lrtrain.schedule("infinite(constant_value=1, end_value=0.25)", total_steps=100)
    assert float(rate(99)) > 0.25
    assert math.isclose(float(rate(100)), 0.25, rel_tol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "warmup_steps=50, cooldown_steps=40%, annealing_steps=20",
            "are 110 steps together, and the run has 100: make one of them shorter",
        ),
        ("end_value=0", "end_value=0 is refused: expected number > 0"),
        ("constant_value=0", "constant_value=0 is refused: expected number > 0"),
        ("decay_steps=3", "no option 'decay_steps'"),
    ],
)
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"infinite({options})")
