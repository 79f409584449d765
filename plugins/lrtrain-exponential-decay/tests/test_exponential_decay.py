"""Exponential decay against its closed form and against optax; its stairs drop on time, compiled or not."""

import jax
import numpy as np
import optax
import pytest
from lrtrain_exponential_decay import ExponentialDecay

import lrtrain
from lrtrain.schedules.table import make_context
from lrtrain.testing import SchedulePluginSuite, table

CHUNK = 64


class TestExponentialDecay(SchedulePluginSuite):
    plugin = "exponential-decay"
    specs = ("exponential-decay(decay_rate=0.5, transition_steps=20%, transition_begin=0, staircase=true)",)


def late(kind: type) -> list[int]:
    """Returns the lengths of a stair for which count * (1 / length), which compilers make of a division, is too low."""
    counts = np.arange(1, 10)
    sizes = np.arange(1, 513)[:, None]
    products = (counts * sizes).astype(kind) * (kind(1) / sizes.astype(kind))
    return [int(size) for size in sizes[np.any(np.floor(products) < counts, axis=1), 0]]


LATE = sorted({*late(np.float32), *late(np.float64)})


def stairs(steps: int, begin: int):
    plugin = ExponentialDecay(
        init_value=1.0,
        transition_steps=lrtrain.Duration(steps),
        decay_rate=0.5,
        transition_begin=lrtrain.Duration(begin),
        staircase=True,
    )
    return plugin.build_schedule(make_context(10_000))


@pytest.mark.parametrize("steps", [1, 7, 300])
@pytest.mark.parametrize(("begin", "rate"), [(0, 0.5), (25, 0.98), (25, 1.01), (99, 1.0)])
def test_closed_form(steps, begin, rate):
    got = table(
        f"exponential-decay(init_value=0.2, transition_steps={steps}, decay_rate={rate}, transition_begin={begin})"
    )
    exponent = np.maximum(np.arange(100) - begin, 0) / steps
    np.testing.assert_allclose(got, 0.2 * rate**exponent, rtol=2e-7)


def test_default_falls_to_a_hundredth_over_the_run():
    raw = optax.exponential_decay(1e-4, transition_steps=2350, decay_rate=0.01)
    np.testing.assert_allclose(table("exponential-decay", 2350), jax.vmap(raw)(np.arange(2350)), rtol=1e-5)


@pytest.mark.parametrize("first", range(1, 513, CHUNK))
def test_stairs_drop_on_time_when_compiled(first):
    check_stairs(range(first, first + CHUNK), np.int32)


def test_stairs_drop_on_time_with_64_bits_as_in_the_table():
    check_stairs(LATE, np.int64)


def check_stairs(sizes, kind: type) -> None:
    begins = [13 * (size % 3) for size in sizes]
    schedules = [stairs(size, begin) for size, begin in zip(sizes, begins, strict=True)]
    counts = [
        begin + np.array([size - 1, size, 2 * size - 1, 2 * size, 3 * size], kind)
        for size, begin in zip(sizes, begins, strict=True)
    ]
    with jax.enable_x64(kind is np.int64):
        values = jax.jit(lambda *each: [rate(count) for rate, count in zip(schedules, each, strict=True)])(*counts)
    np.testing.assert_array_equal(values, [[1, 0.5, 0.5, 0.25, 0.125]] * len(schedules))


@pytest.mark.parametrize("begin", [0, 587])
@pytest.mark.parametrize("steps", [1, 47, 235])
def test_stairs_drop_on_time_in_the_table(steps, begin):
    options = f"transition_steps={steps}, transition_begin={begin}, staircase=true"
    got = table(f"exponential-decay(init_value=1, decay_rate=0.5, {options})", 2350)
    np.testing.assert_array_equal(got, np.float32(0.5 ** (np.maximum(np.arange(2350) - begin, 0) // steps)))


def test_stairs_of_one_epoch():
    """A stair of 235 steps, which compiled optax drops a step late."""
    spec = "exponential-decay(init_value=1, transition_steps=1ep, decay_rate=0.5, transition_begin=0, staircase=true)"
    rate = jax.jit(lrtrain.schedule(spec, total_steps=2350, steps_per_epoch=235))
    assert [float(rate(count)) for count in (234, 235, 469, 470)] == [1, 0.5, 0.5, 0.25]


@pytest.mark.parametrize(("rate", "end", "bound"), [(0.5, 0.3, np.maximum), (2, 3, np.minimum), (1, 1, np.minimum)])
@pytest.mark.parametrize("staircase", ["true", "false"])
def test_end_value_stops_it(rate, end, bound, staircase):
    got = table(
        f"exponential-decay(init_value=1, transition_steps=10, decay_rate={rate}, transition_begin=0, end_value={end}, "
        f"staircase={staircase})"
    )
    exponent = np.arange(100) // 10 if staircase == "true" else np.arange(100) / 10
    np.testing.assert_allclose(got, bound(float(rate) ** exponent, end), rtol=2e-7)


@pytest.mark.parametrize(("options", "message"), [
    ("transition_steps=0", "transition_steps=0 is 0 steps in a run of 100: give at least 1 step"),
    ("transition_steps=0.01ep", "transition_steps=0.01ep is 0 steps in a run of 100"),
    ("decay_rate=0", "decay_rate=0 is refused: expected number > 0"),
    ("init_value=1, end_value=2", "end_value=2.* is over init_value=1.*: give at most 1.*, or none"),
    ("init_value=1, decay_rate=2, end_value=0.5", "end_value=0.5 is under init_value=1.*: give at least 1.*, or none"),
    ("init_value=1, decay_rate=1, end_value=0.5", "end_value=0.5 is under init_value=1"),
    ("transition_begin=-1", "-1.* is not a duration"),
    ("staircase=1", "staircase=1 is refused: expected true or false"),
    ("transition_step=9", r"no option 'transition_step' \(did you mean 'transition_steps'\?\)"),
    ("init_value=1, transition_steps=1, decay_rate=1e9, transition_begin=0", "gives inf at step|at step 5"),
])  # fmt: skip
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"exponential-decay({options})", steps_per_epoch=10)
