"""Specs that use the options of every schedule plugin, for the tests of what is derived from its formula."""

from __future__ import annotations

from functools import cache

import numpy as np

from lrtrain.plugins.loading import activate
from lrtrain.schedules.export.source import ScheduleSource, make_source
from lrtrain.schedules.table import make_context
from lrtrain.testing import table

WARMUP = "init_value=0.1, peak_value=2"

EXAMPLES: dict[str, tuple[str, ...]] = {
    "constant": ("constant", "constant(value=0)", "constant(value=3)"),
    "cosine-decay": (
        "cosine-decay",
        "cosine-decay(init_value=2, decay_steps=60%, alpha=0, exponent=0.5)",
        "cosine-decay(decay_steps=5000)",
        "cosine-decay(init_value=1, alpha=0.1, exponent=3)",
    ),
    "cosine-onecycle": (
        "cosine-onecycle",
        "cosine-onecycle(peak_value=1, pct_start=29%, transition_steps=70%, div_factor=7, final_div_factor=1e4)",
        "cosine-onecycle(pct_start=0.001)",
    ),
    "cyclic": (
        "cyclic",
        "cyclic(init_value=0, peak_value=1, step_size_up=7, step_size_down=13%, mode=triangular2)",
        "cyclic(init_value=0.1, peak_value=1, step_size_up=29%, mode=exp_range, gamma=0.99)",
    ),
    "exponential-decay": (
        "exponential-decay",
        "exponential-decay(init_value=1, transition_steps=47, decay_rate=0.7, transition_begin=11, staircase=true)",
        "exponential-decay(init_value=1, decay_rate=0.01, transition_begin=0, end_value=0.2)",
        "exponential-decay(init_value=0.1, decay_rate=9, end_value=0.3, staircase=true, transition_steps=7)",
    ),
    "infinite": (
        "infinite",
        "infinite(init_value=0.1, peak_value=2, constant_value=1, end_value=0.05, cooldown_steps=0, warmup_steps=7)",
        "infinite(peak_value=0.1, constant_value=1, warmup_steps=0, cooldown_steps=29%, annealing_steps=0)",
    ),
    "inverse-sqrt": (
        "inverse-sqrt",
        f"inverse-sqrt({WARMUP}, warmup_steps=13, timescale=30%, cooldown_steps=20%)",
        "inverse-sqrt(peak_value=1, warmup_steps=0)",
    ),
    "join": (
        "join",
        "join(schedules=[warmup-constant(warmup_steps=50%), join(schedules=[wsd, sgdr], boundaries=[50%])], "
        "boundaries=[30%])",
        "join(schedules=[cosine-decay(decay_steps=10), constant(value=1)], boundaries=[40%])",
        "join(schedules=[wsd, exponential-decay(staircase=true, transition_steps=9), linear], boundaries=[50, 5000])",
        "join(schedules=[polynomial], boundaries=[])",
    ),
    "k-decay": (
        "k-decay",
        "k-decay(init_value=1, end_value=0.1, k=0.5, decay_steps=60%)",
        "k-decay(init_value=0.1, end_value=1, k=3, shape=polynomial, power=0.5)",
    ),
    "linear": (
        "linear",
        "linear(init_value=1, end_value=0, transition_begin=0)",
        "linear(init_value=0.2, end_value=1, transition_steps=30%, transition_begin=7)",
        "linear(init_value=1, end_value=0, warmup_steps=10%, transition_begin=0, transition_steps=none)",
        "linear(init_value=1, warmup_steps=13, transition_begin=7%, transition_steps=30%)",
    ),
    "linear-onecycle": (
        "linear-onecycle",
        "linear-onecycle(peak_value=1, pct_start=29%, pct_final=58%, transition_steps=90%, div_factor=3)",
        "linear-onecycle(pct_start=0.001, pct_final=0.5)",
    ),
    "multistep": (
        "multistep",
        "multistep(init_value=1, milestones=[7, 30%, 5000], gamma=0.316)",
        "multistep(init_value=0.1, milestones=[50%], gamma=3)",
    ),
    "noam": (
        "noam",
        "noam(factor=1, model_size=64, warmup_steps=0)",
        "noam(factor=2, warmup_steps=29%)",
    ),
    "piecewise-constant": (
        "piecewise-constant",
        "piecewise-constant(init_value=1, boundaries_and_scales={7: 0.3, 30%: 2.5, 5000: 0.1})",
    ),
    "piecewise-interpolate": (
        "piecewise-interpolate",
        "piecewise-interpolate(interpolate_type=cosine, init_value=1, boundaries_and_scales={7: 0.3, 31%: 2.5})",
        "piecewise-interpolate(interpolate_type=cosine, boundaries_and_scales={5000: 0.3})",
    ),
    "polynomial": (
        "polynomial",
        "polynomial(init_value=1, end_value=0, power=3, transition_steps=50%, transition_begin=0)",
        "polynomial(init_value=0.1, end_value=1, power=0.3, transition_steps=80%)",
    ),
    "power": (
        "power",
        "power(peak_value=1, amplitude=4, exponent=-0.5, batch_size=1, warmup_steps=0, decay_steps=20)",
        "power(peak_value=0.02, amplitude=4, batch_size=8, example_size=100, warmup_steps=13, decay_steps=0)",
        "power(peak_value=1, end_value=0.1, exponent=0, amplitude=0.5, batch_size=1)",
    ),
    "rex": (
        "rex",
        f"rex({WARMUP}, end_value=0.1, warmup_steps=13, beta=0.9)",
        "rex(peak_value=1, beta=0)",
    ),
    "sgdr": (
        "sgdr",
        "sgdr(cycles=7, init_value=0, peak_value=[1, 0.5], end_value=0.01, warmup_steps=3)",
        "sgdr(cycles=2, decay_steps=30%, warmup_steps=0, peak_value=1, end_value=0)",
        "sgdr(cycles=4, decay_steps=40%, warmup_steps=none)",
        "sgdr(cycles=3, cycle_mult=2, peak_value=1, end_value=0.1)",
        "sgdr(cycles=4, decay_steps=20%, cycle_mult=3, warmup_steps=0, peak_value=1, peak_decay=0.5, end_value=0)",
    ),
    "warmup-constant": ("warmup-constant", "warmup-constant(init_value=0, peak_value=1, warmup_steps=0)"),
    "warmup-cosine-decay": (
        "warmup-cosine-decay",
        f"warmup-cosine-decay({WARMUP}, warmup_steps=0, decay_steps=77%, end_value=0, exponent=0.5)",
        f"warmup-cosine-decay({WARMUP}, warmup_steps=13, end_value=0.5, exponent=2)",
    ),
    "warmup-exponential-decay": (
        "warmup-exponential-decay",
        f"warmup-exponential-decay({WARMUP}, warmup_steps=0, decay_rate=0.5, transition_steps=47, staircase=true)",
        f"warmup-exponential-decay({WARMUP}, transition_begin=0, decay_rate=0.3, transition_steps=20%, end_value=0.5)",
        f"warmup-exponential-decay({WARMUP}, decay_rate=3, end_value=none)",
    ),
    "wsd": (
        "wsd",
        "wsd(init_value=0.1, peak_value=1, end_value=0.2, warmup_steps=0, decay_steps=100%)",
        "wsd(peak_value=1, warmup_steps=50%, decay_steps=0)",
        "wsd(peak_value=1, decay_type=linear)",
        "wsd(peak_value=1, end_value=0.1, decay_type=cosine)",
        "wsd(peak_value=1, decay_steps=37%, decay_type=square)",
        "wsd(peak_value=1, end_value=0.01, warmup_steps=0, decay_steps=100%, decay_type=exponential)",
    ),
}
ALL = [spec for specs in EXAMPLES.values() for spec in specs]


@cache
def values_of(spec: str, total_steps: int) -> np.ndarray:
    """Returns the table of a spec, float32[total_steps]."""
    return table(spec, total_steps)


@cache
def source_of(spec: str, total_steps: int) -> ScheduleSource:
    """Returns what the exported code of a spec is written from, which has been compared with the table."""
    return make_source(activate([spec]), make_context(total_steps))
