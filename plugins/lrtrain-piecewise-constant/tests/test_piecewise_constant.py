"""Constant pieces against a product in NumPy and against optax, at every kind of count."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table


class TestPiecewiseConstant(SchedulePluginSuite):
    plugin = "piecewise-constant"
    specs = ("piecewise-constant(boundaries_and_scales={29%: 0.5, 57%: 2})",)


@pytest.mark.parametrize("scales", [{50: 0.5}, {1: 0.1, 2: 10}, {10: 0.5, 20: 0.5, 99: 3}, {40: 0.5, 500: 0.1}])
def test_factors_are_cumulative_and_act_at_their_boundary(scales):
    expected = [0.2 * np.prod([scale for step, scale in scales.items() if step <= count]) for count in range(100)]
    got = table(f"piecewise-constant(init_value=0.2, boundaries_and_scales={scales})")
    np.testing.assert_allclose(got, expected, rtol=2e-7)


def test_default_is_the_run_of_the_tutorial():
    raw = optax.piecewise_constant_schedule(3e-4, {587: 0.5, 1175: 0.5, 1762: 0.5})
    np.testing.assert_allclose(table("piecewise-constant", 2350), jax.vmap(raw)(np.arange(2350)), rtol=1e-5)


def test_unsigned_counts_drop_too():
    raw = optax.piecewise_constant_schedule(1.0, {5: 0.5})
    rate = lrtrain.schedule("piecewise-constant(init_value=1, boundaries_and_scales={5: 0.5})", total_steps=10)
    assert float(raw(jnp.uint32(7))) == 1, "optax has mended this: the cast in lrtrain can go"
    assert float(rate(jnp.uint32(7))) == 0.5
    np.testing.assert_array_equal(rate(np.arange(10, dtype=np.uint8)), [1] * 5 + [0.5] * 5)


@pytest.mark.parametrize(("options", "message"), [
    ("boundaries_and_scales={}", "boundaries_and_scales={} has no boundary: give at least one"),
    ("boundaries_and_scales={0: 0.5}", "0 is step 0, not after step 0: give the boundaries in rising order"),
    ("boundaries_and_scales={0.5%: 0.5}", "0.5% is step 0, not after step 0"),
    ("boundaries_and_scales={50%: 0.5, 50: 0.1}", "50 is step 50, not after the boundary before it at step 50"),
    ("boundaries_and_scales={50.1%: 0.5, 50.9%: 0.1}", "50.9% is step 50, not after the boundary before it at step 50"),
    ("boundaries_and_scales={50: 0.5, 20: 0.1}", "20 is step 20, not after the boundary before it at step 50"),
    ("boundaries_and_scales={50: 0.5, 50: 0.1}", "50 is given twice"),
    ("boundaries_and_scales={50: 0}", "is refused: expected table of duration: number > 0"),
    ("boundaries_and_scales={50: -1}", "is refused: expected table of duration: number > 0"),
    ("boundaries_and_scales={half: 0.5}", "half.* is not a duration"),
    ("boundaries_and_scales=[50]", "is refused: expected table of duration: number > 0"),
    ("boundaries={50: 0.5}", r"no option 'boundaries' \(did you mean 'boundaries_and_scales'\?\)"),
])  # fmt: skip
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"piecewise-constant({options})")


@pytest.mark.parametrize("total_steps", [1, 2, 3])
def test_a_run_too_short_for_the_default_is_refused(total_steps):
    with pytest.raises(lrtrain.UsageError, match=r"25% is step 0, not after step 0: .* a run long enough"):
        table("piecewise-constant", total_steps)
