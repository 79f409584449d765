"""Lines and half cosines between points against NumPy and against optax, at scalar counts and arrays of them."""

import jax
import numpy as np
import optax
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table

SCALES = [{50: 0.5}, {1: 0.1, 2: 10}, {10: 0.5, 20: 3, 99: 0.5}, {40: 0.5, 500: 0.1}]


class TestPiecewiseInterpolate(SchedulePluginSuite):
    plugin = "piecewise-interpolate"
    specs = ("piecewise-interpolate(interpolate_type=cosine)",)


def points(scales: dict[int, float]) -> tuple[list[int], np.ndarray]:
    return [0, *scales], 0.2 * np.cumprod([1, *scales.values()])


@pytest.mark.parametrize("scales", SCALES)
def test_straight_lines_through_the_cumulative_products(scales):
    got = table(f"piecewise-interpolate(init_value=0.2, boundaries_and_scales={scales})")
    np.testing.assert_allclose(got, np.interp(np.arange(100), *points(scales)), rtol=2e-7)


@pytest.mark.parametrize("scales", SCALES)
def test_half_cosines_through_the_cumulative_products(scales):
    at, values = points(scales)
    # Along a half cosine, share x of the way counts as (1 - cos(pi x)) / 2 of it.
    place = np.interp(np.arange(100), at, np.arange(len(at)))
    bent = np.floor(place) + (1 - np.cos(np.pi * (place % 1))) / 2
    got = table(f"piecewise-interpolate(interpolate_type=cosine, init_value=0.2, boundaries_and_scales={scales})")
    np.testing.assert_allclose(got, np.interp(bent, np.arange(len(at)), values), rtol=2e-6)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_with_the_factors_of_the_tutorial(kind):
    raw = optax.piecewise_interpolate_schedule(kind, 3e-4, {587: 0.5, 1175: 0.5, 1762: 0.5})
    expected = jax.vmap(raw)(np.arange(2350))
    np.testing.assert_allclose(table(f"piecewise-interpolate(interpolate_type={kind})", 2350), expected, rtol=1e-5)


def test_default_is_straight_lines():
    np.testing.assert_array_equal(
        table("piecewise-interpolate"), table("piecewise-interpolate(interpolate_type=linear)")
    )


def test_arrays_of_counts():
    """Three counts for three boundaries: optax takes the counts for one each, and gives one wrong number."""
    scales = {2: 0.5, 4: 0.5, 6: 0.5}
    raw = optax.piecewise_interpolate_schedule("linear", 1.0, scales)
    rate = lrtrain.schedule(f"piecewise-interpolate(init_value=1, boundaries_and_scales={scales})", total_steps=10)
    assert np.shape(raw(np.array([0, 2, 4]))) != (3,) or not np.allclose(raw(np.array([0, 2, 4])), [1, 0.5, 0.25])
    np.testing.assert_allclose(rate(np.array([0, 2, 4])), [1, 0.5, 0.25])
    np.testing.assert_allclose(rate(np.array([[0, 1], [2, 9]], np.uint32)), [[1, 0.75], [0.5, 0.125]])


@pytest.mark.parametrize(("options", "message"), [
    ("boundaries_and_scales={}", "boundaries_and_scales={} has no boundary: give at least one"),
    ("boundaries_and_scales={0: 0.5}", "0 is step 0, not after step 0: give the boundaries in rising order"),
    ("boundaries_and_scales={50%: 0.5, 50: 0.1}", "50 is step 50, not after the boundary before it at step 50"),
    ("boundaries_and_scales={50: 0.5, 20: 0.1}", "20 is step 20, not after the boundary before it at step 50"),
    ("boundaries_and_scales={50: 0}", "is refused: expected table of duration: number > 0"),
    ("interpolate_type=cubic", "interpolate_type=cubic is refused: expected linear or cosine"),
    ("kind=cosine", "no option 'kind'"),
])  # fmt: skip
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"piecewise-interpolate({options})")


@pytest.mark.parametrize("total_steps", [1, 2, 3])
def test_a_run_too_short_for_the_default_is_refused(total_steps):
    with pytest.raises(lrtrain.UsageError, match=r"25% is step 0, not after step 0: .* a run long enough"):
        table("piecewise-interpolate", total_steps)
