"""Cyclical learning rates against reference values and a count of each cycle."""

import math

import numpy as np
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table

STEPS = (0, 5, 10, 25, 50, 79, 80, 81, 90, 99)


class TestCyclic(SchedulePluginSuite):
    plugin = "cyclic"
    specs = (
        "cyclic(mode=triangular2, step_size_up=7, step_size_down=3)",
        "cyclic(mode=exp_range, step_size_up=29%)",
        "cyclic(mode=exp_range, gamma=0.99, step_size_up=3, step_size_down=20%)",
    )


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (
            "init_value=0.1, peak_value=1, step_size_up=20",
            [0.1, 0.325, 0.55, 0.775, 0.55, 0.145, 0.1, 0.145, 0.55, 0.955],
        ),
        (
            "init_value=0.1, peak_value=1, step_size_up=20, mode=triangular2",
            [0.1, 0.325, 0.55, 0.775, 0.325, 0.1225, 0.1, 0.11125, 0.2125, 0.31375],
        ),
        (
            "init_value=0.1, peak_value=1, step_size_up=20, mode=exp_range, gamma=0.99",
            [0.1, 0.31397, 0.50697, 0.62503, 0.37225, 0.12034, 0.1, 0.11994, 0.28213, 0.41612],
        ),
    ],
)
def test_reference_values(options, values):
    np.testing.assert_allclose(table(f"cyclic({options})")[list(STEPS)], values, rtol=0, atol=6e-6)


def cycles(up: int, down: int, total: int, height) -> list[float]:
    """Walks up and down, a step at a time."""
    values: list[float] = []
    cycle = 0
    while len(values) < total:
        ramp = [step / up for step in range(up)] + [1 - step / down for step in range(down)]
        values += [0.1 + 0.9 * each * height(cycle, len(values) + place) for place, each in enumerate(ramp)]
        cycle += 1
    return values[:total]


@pytest.mark.parametrize("total", [1, 2, 7, 100, 235, 1001])
@pytest.mark.parametrize(("up", "down"), [(1, 1), (41, 6), (3, 47)])
def test_every_step(total, up, down):
    options = f"init_value=0.1, peak_value=1, step_size_up={up}, step_size_down={down}"
    heights = {
        "mode=triangular": lambda cycle, step: 1,
        "mode=triangular2": lambda cycle, step: 1 / 2**cycle,
        "mode=exp_range, gamma=0.98": lambda cycle, step: 0.98**step,
    }
    for mode, height in heights.items():
        got = table(f"cyclic({options}, {mode})", total)
        np.testing.assert_allclose(got, cycles(up, down, total, height), rtol=3e-7)


def test_the_height_falls_to_a_tenth_where_no_gamma_is_given():
    got = table("cyclic(init_value=0, peak_value=1, step_size_up=1, mode=exp_range)", 1000)
    assert math.isclose(got[999], 10**-0.999, rel_tol=1e-6)


def test_down_takes_as_long_as_up():
    np.testing.assert_array_equal(table("cyclic(step_size_up=7)"), table("cyclic(step_size_up=7, step_size_down=7)"))


@pytest.mark.parametrize("total", [1, 9])
def test_a_run_too_short_for_the_default_is_refused(total):
    with pytest.raises(lrtrain.UsageError, match=f"step_size_up=10% is 0 steps in a run of {total}: give at least 1"):
        table("cyclic", total)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("step_size_down=0", "step_size_down=0 is 0 steps in a run of 100: give at least 1"),
        ("peak_value=1e-5", "peak_value=1e-05 is under init_value=0.0001: a cycle goes up first"),
        ("gamma=0.9", "gamma=0.9 with mode=triangular is refused: give a gamma of at most 1, with mode=exp_range"),
        ("mode=exp_range, gamma=1.1", "gamma=1.1 with mode=exp_range is refused: give a gamma of at most 1"),
        ("mode=square", "mode='?square'? is refused"),
        ("momentum=0.9", "no option 'momentum'"),
    ],
)
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"cyclic({options})")
