"""One test for each trap of optax's schedules that lrtrain refuses, cures or states; the numbers are of one list."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrtrain
from lrtrain.plugins.discovery import find_plugin
from lrtrain.plugins.loading import load_class
from lrtrain.testing import table

ROOT = Path(__file__).parent.parent


def states(plugin: str, statement: str) -> bool:
    return statement in " ".join(inspect.getdoc(load_class(find_plugin(plugin))).split())


def refuses(spec: str, message: str, total_steps: int = 100) -> None:
    with pytest.raises(lrtrain.UsageError, match=message):
        table(spec, total_steps)


def names_used() -> set[str]:
    """Returns every name and attribute in the code of lrtrain and of its plugins."""
    files = [*ROOT.glob("lrtrain/**/*.py"), *ROOT.glob("plugins/*/lrtrain_*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    return names | attributes | imported


@pytest.mark.parametrize("spec", [
    "exponential-decay(init_value=1, transition_steps=235, decay_rate=0.5, transition_begin=0, staircase=true)",
    "warmup-exponential-decay(peak_value=1, warmup_steps=0, transition_steps=235, decay_rate=0.5, transition_begin=0, "
    "staircase=true, end_value=none)",
])  # fmt: skip
def test_trap_01_stairs_drop_late_when_compiled(spec):
    stairs = np.float32(0.5 ** (np.arange(500) // 235))
    np.testing.assert_array_equal(table(spec, 500), stairs)
    rate = lrtrain.schedule(spec, total_steps=500)
    np.testing.assert_array_equal(jax.jit(rate)(np.arange(500)), stairs)
    np.testing.assert_array_equal(rate(np.arange(500)), stairs)


@pytest.mark.parametrize("plugin", ["cosine-decay", "cosine-onecycle", "linear-onecycle", "linear", "polynomial",
                                    "warmup-cosine-decay", "wsd"])  # fmt: skip
def test_trap_02_the_last_planned_value_is_never_applied(plugin):
    assert states(plugin, "one short of")
    last, end, after = lrtrain.schedule(plugin, total_steps=100)(np.array([99, 100, 10_000]))
    assert last > end == after


@pytest.mark.parametrize(
    "plugin", ["warmup-constant", "warmup-cosine-decay", "warmup-exponential-decay", "wsd", "sgdr"]
)
def test_trap_03_a_warmup_from_zero_begins_with_an_update_that_does_nothing(plugin):
    assert states(plugin, "an update that changes nothing")
    assert table(f"{plugin}(init_value=0, warmup_steps=10%)")[0] == 0


def test_trap_04_what_a_length_includes():
    assert states("warmup-cosine-decay", "``decay_steps``, which includes the warmup")
    assert states("warmup-exponential-decay", "``transition_begin``, which counts from the end of the warmup")
    assert states("warmup-exponential-decay", "the warmup not included")
    values = table("warmup-cosine-decay(peak_value=1, warmup_steps=20, decay_steps=60, end_value=0.5)")
    assert values[59] > 0.5 == values[60]
    lengths = "warmup_steps=20, transition_begin=30, transition_steps=10"
    values = table(f"warmup-exponential-decay(peak_value=1, decay_rate=0.8, {lengths})")
    assert values[50] == 1 > values[51]
    assert values[60] == np.float32(0.8)


def test_trap_05_linear_onecycle_is_divided_by_both_factors():
    assert states("linear-onecycle", "end value, at step S, is ``peak_value / (div_factor * final_div_factor)``")
    rate = lrtrain.schedule("linear-onecycle(peak_value=1, div_factor=10, final_div_factor=100)", total_steps=100)
    assert float(rate(100)) == pytest.approx(1 / (10 * 100))


def test_trap_06_a_product_of_floats_is_rounded_down():
    assert int(0.29 * 100) == 28
    assert int(lrtrain.exact(0.29) * 100) == 29
    assert lrtrain.Duration("29%").steps(100, 10) == 29
    assert table("cosine-onecycle(pct_start=0.29)").argmax() == 29
    assert table("linear-onecycle(pct_start=0.29, pct_final=0.58)").argmax() == 29
    assert table("piecewise-constant(init_value=1, boundaries_and_scales={29%: 0.5})")[28:30].tolist() == [1, 0.5]


@pytest.mark.parametrize(("spec", "message"), [
    ("linear-onecycle(pct_start=0.3, pct_final=0.3)", "pct_start=0.3 and pct_final=0.3 leave a phase without a step"),
    ("linear-onecycle(pct_start=0.301, pct_final=0.309)", "are both step 30 of a cycle of 100"),
    ("linear-onecycle(pct_start=0.5, pct_final=0.3)", "give 0 < pct_start < pct_final < 1"),
    ("linear-onecycle(pct_final=1)", "leave a phase without a step"),
    ("cosine-onecycle(pct_start=1)", "leaves no step to go down in"),
    ("cosine-onecycle(pct_start=0)", "leaves no step to go up in"),
])  # fmt: skip
def test_trap_07_phases_that_overwrite_each_other(spec, message):
    refuses(spec, message)


@pytest.mark.parametrize("plugin", ["piecewise-constant", "piecewise-interpolate"])
def test_trap_08_scales_are_cumulative_and_a_boundary_at_zero_skips_the_beginning(plugin):
    assert states(plugin, "The factors are cumulative")
    values = table(f"{plugin}(init_value=1, boundaries_and_scales={{20: 0.5, 40: 0.5, 60: 2}})")
    assert values[[0, 20, 40, 60]].tolist() == [1, 0.5, 0.25, 0.5]
    refuses(f"{plugin}(boundaries_and_scales={{0: 0.5}})", "0 is step 0, not after step 0")
    refuses(
        f"{plugin}(boundaries_and_scales={{20: 0.5, 20%: 0.5}})", "20% is step 20, not after the boundary before it"
    )


@pytest.mark.parametrize(("options", "message"), [
    ("schedules=[constant, linear, wsd], boundaries=[50]", "are 1 for 3 schedules: .*, so 2"),
    ("schedules=[constant, linear], boundaries=[50, 70]", "are 2 for 2 schedules: .*, so 1"),
    ("schedules=[constant, linear, wsd], boundaries=[50, 30]", "30 is step 30, not after .* at step 50"),
    ("schedules=[constant, linear, wsd], boundaries=[50, 50%]", "50% is step 50, not after .* at step 50"),
])  # fmt: skip
def test_trap_09_join_drops_what_does_not_fit(options, message):
    refuses(f"join({options})", message)


def test_trap_10_a_cycle_of_sgdr_reaches_its_end_only_when_it_is_the_last():
    assert states("sgdr", "A cycle ends one step short of its ``end_value``")
    rate = lrtrain.schedule("sgdr(cycles=2, peak_value=1, end_value=0.5)", total_steps=100)
    assert float(rate(49)) > 0.5
    assert float(rate(100)) == 0.5
    refuses("sgdr(cycles=0)", "expected whole number >= 1")
    refuses("sgdr(peak_value=[])", "has 0 numbers: 3 cycles take 1 to 3")


@pytest.mark.parametrize(("spec", "message"), [
    ("cosine-decay(decay_steps=0)", "decay_steps=0 is 0 steps"),
    ("cosine-onecycle(transition_steps=0)", "transition_steps=0 is 0 steps"),
    ("exponential-decay(transition_steps=0)", "transition_steps=0 is 0 steps"),
    ("exponential-decay(decay_rate=0)", "decay_rate=0 is refused: expected number > 0"),
    ("linear-onecycle(transition_steps=0)", "transition_steps=0 is 0 steps"),
    ("linear(transition_steps=0)", "transition_steps=0 is 0 steps"),
    ("polynomial(transition_steps=0)", "transition_steps=0 is 0 steps"),
    ("sgdr(decay_steps=0)", "decay_steps=0 is 0 steps"),
    ("warmup-cosine-decay(warmup_steps=0, decay_steps=0)", "decay_steps=0 is 0 steps"),
    ("warmup-exponential-decay(transition_steps=0)", "transition_steps=0 is 0 steps"),
    ("warmup-exponential-decay(decay_rate=0)", "decay_rate=0 is refused: expected number > 0"),
])  # fmt: skip
def test_trap_11_no_length_freezes_the_learning_rate(spec, message):
    refuses(spec, message)


@pytest.mark.parametrize("plugin", ["warmup-constant", "warmup-cosine-decay", "warmup-exponential-decay", "wsd"])
def test_trap_11_a_warmup_of_no_step_is_none(plugin):
    assert table(f"{plugin}(init_value=0, peak_value=1, warmup_steps=0)")[0] == 1


@pytest.mark.parametrize(("spec", "message"), [
    ("exponential-decay(init_value=1, decay_rate=0.5, end_value=2)", "end_value=2.* is over init_value=1"),
    ("exponential-decay(init_value=1, decay_rate=2, end_value=0.5)", "end_value=0.5 is under init_value=1"),
    ("warmup-exponential-decay(peak_value=1, decay_rate=0.5, end_value=2)", "end_value=2.* is over peak_value=1"),
    ("warmup-exponential-decay(peak_value=1, decay_rate=2, end_value=0.5)", "end_value=0.5 is under peak_value=1"),
])  # fmt: skip
def test_trap_12_an_end_on_the_wrong_side_would_hold_at_once(spec, message):
    refuses(spec, message)


@pytest.mark.parametrize("spec", [
    "piecewise-constant(init_value=1, boundaries_and_scales={50: 0.5})",
    "linear(init_value=1, transition_begin=50)",
    "polynomial(init_value=1, transition_begin=50)",
    "exponential-decay(init_value=1, transition_begin=50, transition_steps=10)",
])  # fmt: skip
def test_trap_13_unsigned_counts(spec):
    rate = lrtrain.schedule(spec, total_steps=100)
    signed = rate(jnp.arange(100, dtype=jnp.int32))
    np.testing.assert_array_equal(rate(jnp.arange(100, dtype=jnp.uint32)), signed)
    assert float(rate(jnp.uint32(49))) == 1 > float(rate(jnp.uint32(60)))


def test_trap_14_arrays_of_counts():
    scales = {20: 0.5, 40: 0.5, 60: 0.5}
    spec = f"piecewise-interpolate(init_value=1, boundaries_and_scales={scales})"
    rate = lrtrain.schedule(spec, total_steps=100)
    np.testing.assert_allclose(rate(np.array([0, 10, 40])), [1, 0.75, 0.25])
    np.testing.assert_allclose(rate(np.array([[0, 10], [40, 99]])), [[1, 0.75], [0.25, 0.125]])


def test_trap_15_a_learning_rate_kept_in_the_state_of_the_optimizer():
    """The learning rate is an argument of the compiled step; nothing keeps it in a state, where it could be stale."""
    assert not names_used() & {"inject_hyperparams", "inject_stateful_hyperparams"}


def test_trap_16_float32_loses_steps():
    """The table is computed in float64 and rounded once; neighbouring counts stay apart where float64 is enabled."""
    options = "init_value=1, decay_rate=0.1, transition_begin=0"
    exact = (0.1 ** (np.arange(2350) / 2350)).astype(np.float32)
    np.testing.assert_array_max_ulp(table(f"exponential-decay({options})", 2350), exact, maxulp=1)
    joined = table(f"join(schedules=[exponential-decay({options})], boundaries=[])", 2350)
    np.testing.assert_array_max_ulp(joined, exact, maxulp=1)
    with jax.enable_x64(True):
        rate = lrtrain.schedule("linear(init_value=1, end_value=0, transition_begin=0)", total_steps=2**26)
        assert len(set(np.asarray(rate(np.arange(2**25, 2**25 + 16))).tolist())) == 16


def test_trap_17_patience_counts_differently_elsewhere():
    """No plugin so far reacts to a plateau; one that does must say how it counts, not inherit it."""
    assert "reduce_on_plateau" not in names_used()


@pytest.mark.parametrize("steps", [3, 50])
def test_one_more_compiled_polynomials_end_beyond_their_end(steps):
    """A rounding error remains at the end of `optax.polynomial_schedule`: under 0 if it ends at 0, NaN for a root."""
    for spec in ("linear(end_value=0, {0})", "polynomial(end_value=0, power=0.5, {0})", "polynomial(power=0.5, {0})"):
        filled = spec.format(f"transition_begin=0, transition_steps={steps}")
        rate = lrtrain.schedule(filled, total_steps=100)
        assert float(jax.jit(rate)(steps)) == table(filled)[steps] == float(rate(10_000))
