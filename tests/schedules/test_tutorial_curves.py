"""The fourteen curves of the tutorial: all 2,350 values of each, against optax called with the tutorial's arguments."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import optax
import pytest

from lrtrain.comparison.plan_file import read_preset
from tests.schedule_examples import values_of

T = 2350
QUARTERS = {587: 0.5, 1175: 0.5, 1762: 0.5}
HALVES = "init_value=3e-4, boundaries_and_scales={25%: 0.5, 50%: 0.5, 75%: 0.5}"
CYCLES = [(3e-4, 4e-4, 2e-4), (2e-4, 3e-4, 1e-4), (1e-4, 2e-4, 5e-5)]


def combined() -> optax.Schedule:
    parts = [
        optax.cosine_decay_schedule(3e-4, decay_steps=1000, alpha=0.7),
        optax.linear_schedule(2e-4, 1e-4, transition_steps=1000),
        optax.cosine_onecycle_schedule(1000, peak_value=1e-4, div_factor=30, final_div_factor=1000),
    ]
    return optax.join_schedules(parts, boundaries=[1000, 2000])


def warm_restarts() -> optax.Schedule:
    return optax.sgdr_schedule(
        [
            {"init_value": init, "peak_value": peak, "warmup_steps": 100, "decay_steps": 1000, "end_value": end}
            for init, peak, end in CYCLES
        ]
    )


RUNS: dict[int, tuple[str, Callable[[], optax.Schedule]]] = {
    1: (
        "constant(value=1e-4)",
        lambda: optax.constant_schedule(1e-4),
    ),
    2: (
        "cosine-decay(init_value=1e-4, decay_steps=100%, alpha=0.95)",
        lambda: optax.cosine_decay_schedule(1e-4, decay_steps=T, alpha=0.95),
    ),
    3: (
        "cosine-onecycle(transition_steps=100%, peak_value=1e-4, pct_start=0.2, div_factor=30, final_div_factor=100)",
        lambda: optax.cosine_onecycle_schedule(T, 1e-4, pct_start=0.2, div_factor=30, final_div_factor=100),
    ),
    4: (
        "exponential-decay(init_value=1e-4, transition_steps=100%, decay_rate=0.98, transition_begin=25%, "
        "staircase=false)",
        lambda: optax.exponential_decay(1e-4, T, decay_rate=0.98, transition_begin=587, staircase=False),
    ),
    5: (
        "linear-onecycle(transition_steps=100%, peak_value=1e-4, pct_start=0.25, pct_final=0.7, div_factor=10, "
        "final_div_factor=100)",
        lambda: optax.linear_onecycle_schedule(
            T, 1e-4, pct_start=0.25, pct_final=0.7, div_factor=10, final_div_factor=100
        ),
    ),
    6: (
        "linear(init_value=1e-4, end_value=1e-5, transition_steps=100%, transition_begin=25%)",
        lambda: optax.linear_schedule(1e-4, 1e-5, transition_steps=T, transition_begin=587),
    ),
    7: (
        f"piecewise-constant({HALVES})",
        lambda: optax.piecewise_constant_schedule(3e-4, QUARTERS),
    ),
    8: (
        f"piecewise-interpolate(interpolate_type=linear, {HALVES})",
        lambda: optax.piecewise_interpolate_schedule("linear", 3e-4, QUARTERS),
    ),
    9: (
        f"piecewise-interpolate(interpolate_type=cosine, {HALVES})",
        lambda: optax.piecewise_interpolate_schedule("cosine", 3e-4, QUARTERS),
    ),
    10: (
        "polynomial(init_value=1e-4, end_value=1e-5, power=0.5, transition_steps=100%, transition_begin=20%)",
        lambda: optax.polynomial_schedule(1e-4, 1e-5, power=0.5, transition_steps=T, transition_begin=470),
    ),
    11: (
        "warmup-cosine-decay(init_value=1e-4, peak_value=3e-4, warmup_steps=20%, decay_steps=100%, end_value=1e-5)",
        lambda: optax.warmup_cosine_decay_schedule(1e-4, 3e-4, warmup_steps=470, decay_steps=T, end_value=1e-5),
    ),
    12: (
        "warmup-exponential-decay(init_value=1e-4, peak_value=3e-4, warmup_steps=20%, transition_steps=100%, "
        "decay_rate=0.8, transition_begin=10%, end_value=1e-5)",
        lambda: optax.warmup_exponential_decay_schedule(
            1e-4, 3e-4, warmup_steps=470, transition_steps=T, decay_rate=0.8, transition_begin=235, end_value=1e-5
        ),
    ),
    13: (
        "join(schedules=[cosine-decay(init_value=3e-4, decay_steps=1000, alpha=0.7), "
        "linear(init_value=2e-4, end_value=1e-4, transition_steps=1000, transition_begin=0), "
        "cosine-onecycle(transition_steps=1000, peak_value=1e-4, pct_start=0.3, div_factor=30, final_div_factor=1000)"
        "], boundaries=[1000, 2000])",
        combined,
    ),
    14: (
        "sgdr(cycles=3, decay_steps=1000, warmup_steps=100, init_value=[3e-4, 2e-4, 1e-4], "
        "peak_value=[4e-4, 3e-4, 2e-4], end_value=[2e-4, 1e-4, 5e-5])",
        warm_restarts,
    ),
}


def evaluated(schedule: optax.Schedule, kind: type[np.integer]) -> np.ndarray:
    return np.broadcast_to(np.asarray(jax.vmap(schedule)(np.arange(T, dtype=kind))), T)


@pytest.mark.parametrize("run", RUNS)
def test_all_values_are_those_of_optax(run):
    """In float32, where optax is off by up to 8e-6 itself; then in float64, rounded to float32 once."""
    spec, raw = RUNS[run]
    values = values_of(spec, T)
    assert values.shape == (T,)
    # One-cycle ends at a three-thousandth of its peak, so its rounding errors are small against the peak only.
    np.testing.assert_allclose(values, evaluated(raw(), np.int32), rtol=1e-5, atol=1e-11)
    with jax.enable_x64(True):
        # JAX divides int32 in float32 even here.
        wide = evaluated(raw(), np.int64)
    np.testing.assert_allclose(values, wide, rtol=2e-7, atol=0)


@pytest.mark.parametrize("run", RUNS)
def test_the_preset_is_the_run_of_the_tutorial(run):
    spec, _ = RUNS[run]
    np.testing.assert_array_equal(values_of(str(read_preset("tutorial").rows[run - 1].spec), T), values_of(spec, T))


def test_the_runs_differ():
    assert len({values_of(spec, T).tobytes() for spec, _ in RUNS.values()}) == 14
