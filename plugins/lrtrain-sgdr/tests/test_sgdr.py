"""SGDR against its closed form and against optax: cycles, their lengths, warmups and ends."""

import jax
import numpy as np
import optax
import pytest

import lrtrain
from lrtrain.plugins.loading import activate
from lrtrain.schedules.table import build_table, make_context
from lrtrain.testing import SchedulePluginSuite, table


class TestSGDR(SchedulePluginSuite):
    plugin = "sgdr"
    specs = (
        "sgdr(cycles=4)",
        "sgdr(cycles=1, peak_value=1e-3)",
        "sgdr(decay_steps=20%, cycle_mult=2, warmup_steps=0, peak_value=1, peak_decay=0.5, end_value=0)",
    )


def cycle(length: int, warmup: int, init: float, peak: float, end: float) -> np.ndarray:
    count = np.arange(length)
    falling = end + (peak - end) * (1 + np.cos(np.pi * (count - warmup) / (length - warmup))) / 2
    return np.where(count < warmup, init + (peak - init) * count / max(warmup, 1), falling)


@pytest.mark.parametrize(("cycles", "lengths"), [(1, [100]), (3, [33, 33, 34]), (7, [14, 14, 14, 15, 14, 14, 15])])
@pytest.mark.parametrize("warmup", [0, 5])
def test_equal_parts(cycles, lengths, warmup):
    got = table(f"sgdr(cycles={cycles}, init_value=0.1, peak_value=1, end_value=0.2, warmup_steps={warmup})")
    expected = np.concatenate([cycle(length, warmup, 0.1, 1, 0.2) for length in lengths])
    np.testing.assert_allclose(got, expected, rtol=2e-7, atol=1e-8)


RESTARTS = "peak_value=1, end_value=0, warmup_steps=0"


def test_reference_values_of_growing_cycles():
    got = table(f"sgdr({RESTARTS}, decay_steps=20, cycle_mult=2)")
    values = [1, 0.85355, 0.5, 0.96194, 0.14645, 0.86716, 0.85355, 0.83940, 0.69134, 0.51963]
    np.testing.assert_allclose(got[[0, 5, 10, 25, 50, 79, 80, 81, 90, 99]], values, rtol=0, atol=6e-6)


def warm_restarts(count: np.ndarray, first: int, mult: int, decay: float) -> np.ndarray:
    """The closed form of torch.optim.lr_scheduler.CosineAnnealingWarmRestarts, its peaks falling by a factor."""
    cycle = np.floor(np.log(count / first * (mult - 1) + 1 + 1e-12) / np.log(mult))
    length = first * mult**cycle
    since = count - first * (mult**cycle - 1) / (mult - 1)
    return decay**cycle * (1 + np.cos(np.pi * since / length)) / 2


@pytest.mark.parametrize("total", [10, 100, 2350])
@pytest.mark.parametrize(("first", "mult", "decay"), [(7, 2, 1), (1, 3, 0.5), (10, 5, 0.9)])
def test_closed_form_of_growing_cycles(total, first, mult, decay):
    got = table(f"sgdr({RESTARTS}, cycles=9, decay_steps={first}, cycle_mult={mult}, peak_decay={decay})", total)
    np.testing.assert_allclose(got, warm_restarts(np.arange(total), first, mult, decay), rtol=2e-7, atol=1e-8)


def test_growing_cycles_share_the_run():
    np.testing.assert_array_equal(
        table("sgdr(cycles=3, cycle_mult=2)", 70),
        table("sgdr(cycles=3, cycle_mult=2, decay_steps=10)", 70),
    )


def test_each_peak_is_a_factor_of_the_one_before():
    np.testing.assert_array_equal(
        table("sgdr(cycles=4, peak_value=1, peak_decay=0.5)"), table("sgdr(cycles=4, peak_value=[1, 0.5, 0.25, 0.125])")
    )


def test_as_many_cycles_as_steps():
    np.testing.assert_array_equal(table("sgdr(cycles=5, peak_value=1)", 5), np.ones(5))


def test_one_learning_rate_for_each_cycle_the_last_one_stays():
    options = "cycles=4, decay_steps=25, warmup_steps=5, init_value=[0, 0.5], peak_value=[1, 2, 3], end_value=0"
    arguments = [(0, 1), (0.5, 2), (0.5, 3), (0.5, 3)]
    expected = np.concatenate([cycle(25, 5, init, peak, 0) for init, peak in arguments])
    np.testing.assert_allclose(table(f"sgdr({options})"), expected, rtol=2e-7, atol=1e-8)


def test_the_tutorial():
    cycles = [(3e-4, 4e-4, 2e-4), (2e-4, 3e-4, 1e-4), (1e-4, 2e-4, 5e-5)]
    raw = optax.sgdr_schedule(
        [
            {"init_value": init, "peak_value": peak, "warmup_steps": 100, "decay_steps": 1000, "end_value": end}
            for init, peak, end in cycles
        ]
    )
    lists = "init_value=[3e-4, 2e-4, 1e-4], peak_value=[4e-4, 3e-4, 2e-4], end_value=[2e-4, 1e-4, 5e-5]"
    got = table(f"sgdr({lists}, decay_steps=1000, warmup_steps=100)", 2350)
    np.testing.assert_allclose(got, jax.vmap(raw)(np.arange(2350)), rtol=1e-5)


def test_default_is_three_equal_cycles_that_fall_to_zero_as_in_the_paper():
    raw = optax.sgdr_schedule([{"init_value": 0, "peak_value": 3e-4, "warmup_steps": 0, "decay_steps": 100}] * 3)
    np.testing.assert_allclose(table("sgdr", 300), jax.vmap(raw)(np.arange(300)), rtol=1e-5, atol=1e-10)


def test_without_a_number_of_steps_a_warmup_is_a_tenth_of_the_shortest_cycle():
    raw = optax.sgdr_schedule([{"init_value": 0, "peak_value": 1, "warmup_steps": 10, "decay_steps": 100}] * 3)
    got = table("sgdr(peak_value=1, warmup_steps=none)", 300)
    np.testing.assert_allclose(got, jax.vmap(raw)(np.arange(300)), rtol=1e-5, atol=1e-7)


def test_a_run_of_two_cycles_with_the_earlier_defaults_goes_on():
    cycles = [(3e-4, 4e-4, 2e-4), (2e-4, 3e-4, 1e-4)]
    raw = optax.sgdr_schedule(
        [
            {"init_value": init, "peak_value": peak, "warmup_steps": 5, "decay_steps": 50, "end_value": end}
            for init, peak, end in cycles
        ]
    )
    lists = "init_value=[3e-4, 2e-4, 1e-4], peak_value=[4e-4, 3e-4, 2e-4], end_value=[2e-4, 1e-4, 5e-5]"
    got = table(f"sgdr({lists}, cycles=2, warmup_steps=none)")
    np.testing.assert_allclose(got, jax.vmap(raw)(np.arange(100)), rtol=1e-5)


def test_cycles_that_do_not_fit_are_cut_off():
    np.testing.assert_array_equal(table("sgdr(decay_steps=40)"), table("sgdr(decay_steps=40)", 120)[:100])


def test_the_end_is_reached_only_after_the_last_cycle():
    rate = lrtrain.schedule("sgdr(cycles=2, peak_value=1, end_value=0.5, warmup_steps=0)", total_steps=20)
    assert float(rate(9)) > 0.5
    assert float(rate(10)) == 1
    assert float(rate(20)) == float(rate(99)) == 0.5


def test_its_own_resolved_options_are_taken_back():
    active = activate(["sgdr(cycles=2)"])
    first = build_table(active, make_context(100))
    again = build_table(activate([first.spec]), make_context(100))
    np.testing.assert_array_equal(again.values, first.values)


@pytest.mark.parametrize(("options", "message"), [
    ("cycles=0", "cycles=0 is refused: expected whole number >= 1"),
    ("cycles=2.5", "cycles=2.5 is refused: expected whole number >= 1"),
    ("cycles=101", "cycles=101 do not fit in 100 steps: a cycle has at least 1"),
    ("decay_steps=0", "decay_steps=0 is 0 steps of 100: a cycle has at least 1"),
    ("warmup_steps=33", "warmup_steps=33 is 33 steps, and the shortest cycle has 33: a warmup is shorter"),
    ("cycles=2, peak_value=[1, 2, 4]", "peak_value=.* has 3 numbers: 2 cycles take 1 to 2"),
    ("peak_value=[]", "peak_value=.* has 0 numbers: 3 cycles take 1 to 3"),
    ("peak_value=[1, 0], end_value=0.5", "peak_value=.* has a 0 where end_value=0.5 has not: give each"),
    ("peak_value=[1, -1]", "peak_value=.* is refused: expected number >= 0 or list of number >= 0"),
    ("cycles=7, cycle_mult=2", "cycles=7 with cycle_mult=2 do not fit in 100 steps: a cycle has at least 1"),
    ("cycles=99999, cycle_mult=2", "cycles=99999 with cycle_mult=2 do not fit in 100 steps"),
    ("cycles=31, cycle_mult=2, decay_steps=2", "cycles=31 .* of 2 steps end after step 2147483647: give fewer cycles"),
    ("cycle_mult=0", "cycle_mult=0 is refused: expected whole number >= 1"),
    ("peak_decay=0.5, peak_value=[1, 2]", "peak_decay=0.5 with peak_value=.* is refused: give one number"),
    ("peak_decay=1.5, peak_value=1", "peak_decay=1.5 is refused: give at most 1"),
    ("peak_decay=0, peak_value=1", "peak_decay=0 is refused: expected number > 0"),
    ("restarts=3", "no option 'restarts'"),
])  # fmt: skip
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"sgdr({options})")


@pytest.mark.parametrize("total_steps", [1, 2])
def test_a_run_too_short_for_the_default_is_refused(total_steps):
    with pytest.raises(lrtrain.UsageError, match=f"cycles=3 do not fit in {total_steps} steps"):
        table("sgdr", total_steps)
