"""The schedule of the Transformer against reference values and its closed form."""

import math

import numpy as np
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table

STEPS = (0, 5, 10, 25, 50, 79, 80, 81, 90, 99)


class TestNoam(SchedulePluginSuite):
    plugin = "noam"
    specs = (
        "noam(factor=1, model_size=64, warmup_steps=0)",
        "noam(factor=1, warmup_steps=29%)",
    )


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (
            "factor=1000, warmup_steps=10",
            [1.39754, 8.38525, 13.32504, 8.66719, 6.18842, 4.94106, 4.91046, 4.88043, 4.63281, 4.41942],
        ),
    ],
)
def test_reference_values(options, values):
    np.testing.assert_allclose(table(f"noam({options})")[list(STEPS)], values, rtol=0, atol=6e-6)


@pytest.mark.parametrize("total", [1, 2, 7, 100, 235, 1001])
@pytest.mark.parametrize("warmup", [0, 1, 10, 400])
def test_every_step(total, warmup):
    got = table(f"noam(factor=2, model_size=64, warmup_steps={warmup})", total)
    # Two branches instead of a minimum, the powers by logarithms.
    expected = [
        math.exp(math.log(0.25) + (math.log(step) - 1.5 * math.log(warmup) if step < warmup else -0.5 * math.log(step)))
        for step in range(1, total + 1)
    ]
    np.testing.assert_allclose(got, expected, rtol=2e-7)


def test_the_peak_is_at_the_last_step_of_the_warmup():
    got = table("noam(factor=1, model_size=512, warmup_steps=40)")
    assert int(np.argmax(got)) == 39
    assert math.isclose(got[39], (512 * 40) ** -0.5, rel_tol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("factor=0", "factor=0 is refused: expected number > 0"),
        ("model_size=0", "model_size=0 is refused: expected whole number >= 1"),
        ("peak_value=1", "no option 'peak_value'"),
    ],
)
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"noam({options})")
