"""k-decay against reference values and its closed form."""

import math

import numpy as np
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table

STEPS = (0, 5, 10, 25, 50, 79, 80, 81, 90, 99)


class TestKDecay(SchedulePluginSuite):
    plugin = "k-decay"
    specs = (
        "k-decay(k=5, decay_steps=29%)",
        "k-decay(init_value=0.1, end_value=1, k=0.5, shape=polynomial, power=2)",
        "k-decay(shape=polynomial, power=0.5)",
    )


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ("init_value=1", [1, 0.99998, 0.99975, 0.99039, 0.85355, 0.30997, 0.28711, 0.26451, 0.08646, 0.00098]),
        (
            "init_value=1, k=1, shape=polynomial, power=2",
            [1, 0.9025, 0.81, 0.5625, 0.25, 0.0441, 0.04, 0.0361, 0.01, 0.0001],
        ),
    ],
)
def test_reference_values(options, values):
    np.testing.assert_allclose(table(f"k-decay({options})")[list(STEPS)], values, rtol=0, atol=6e-6)


@pytest.mark.parametrize("total", [1, 2, 7, 100, 235, 1001])
@pytest.mark.parametrize("k", [0.5, 1, 3])
def test_every_step(total, k):
    got = table(f"k-decay(init_value=2, end_value=0.5, k={k})", total)
    curved = table(f"k-decay(init_value=2, end_value=0.5, k={k}, shape=polynomial, power=1.5)", total)
    time = [(step / total) ** k for step in range(total)]
    np.testing.assert_allclose(got, [0.5 + 1.5 * (1 + math.cos(math.pi * x)) / 2 for x in time], rtol=2e-7)
    np.testing.assert_allclose(curved, [0.5 + 1.5 * math.sqrt(1 - x) ** 3 for x in time], rtol=2e-7)


def test_from_decay_steps_on_it_stays():
    got = table("k-decay(init_value=1, end_value=0.25, decay_steps=40)")
    assert got[39] > 0.25
    assert (got[40:] == 0.25).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("decay_steps=0", "decay_steps=0 is 0 steps in a run of 100: give at least 1 step"),
        ("power=2", "power=2.* with shape=cosine is refused: give it with shape=polynomial"),
        ("k=0", "k=0 is refused: expected number > 0"),
        ("shape=square", "shape='?square'? is refused"),
        ("warmup_steps=3", "no option 'warmup_steps'"),
    ],
)
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"k-decay({options})")
