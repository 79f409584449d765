"""Every schedule plugin that is installed goes through the same checks."""

from __future__ import annotations

import doctest
import importlib
from functools import cache

import jax
import numpy as np
import pytest

import lrtrain
from lrtrain.discovery import Entry, find_plugins
from lrtrain.plugins import activate, hooks_of, load_class
from lrtrain.schedules import build_table, make_context, schedule

SCHEDULES = {
    "constant", "cosine-decay", "cosine-onecycle", "cyclic", "exponential-decay", "infinite", "inverse-sqrt", "join",
    "k-decay", "linear", "linear-onecycle", "multistep", "noam", "piecewise-constant", "piecewise-interpolate",
    "polynomial", "power", "rex", "sgdr", "warmup-constant", "warmup-cosine-decay", "warmup-exponential-decay", "wsd",
}  # fmt: skip
PER_EPOCH = 47
SHORTEST = {
    "cyclic": 10, "join": 3, "linear-onecycle": 2, "multistep": 4, "piecewise-constant": 4, "piecewise-interpolate": 4,
    "sgdr": 3,
}  # fmt: skip
"""The shortest run for which a default can be built, where that is not 1 step."""


def schedule_plugins() -> list[Entry]:
    return [entry for entry in find_plugins() if "build_schedule" in hooks_of(load_class(entry))]


PLUGINS = [entry.name for entry in schedule_plugins()]
each_plugin = pytest.mark.parametrize("name", PLUGINS)


@cache
def table(name: str, total_steps: int) -> np.ndarray:
    return build_table(activate([name]), make_context(total_steps, min(PER_EPOCH, total_steps))).values


@cache
def rate(name: str) -> lrtrain.Schedule:
    return schedule(name, total_steps=235, steps_per_epoch=PER_EPOCH)


def assert_same(got, expected) -> None:
    """Compares in float32, whose rounding errors are relative to the highest learning rate, not to each value."""
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7 * float(np.max(expected)))


def test_all_are_installed():
    assert set(PLUGINS) >= SCHEDULES


@each_plugin
@pytest.mark.parametrize("total_steps", [1, 2, 3, 7, 235, 2350])
def test_default_for_a_run_of_any_length(name, total_steps):
    if total_steps < SHORTEST.get(name, 1):
        with pytest.raises(lrtrain.ScheduleError, match=rf"^plugin '{name}': .*(long|fit|longer)"):
            table(name, total_steps)
        return
    values = table(name, total_steps)
    assert values.dtype == np.float32
    assert values.shape == (total_steps,)
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert values.any()


@each_plugin
def test_same_one_by_one_compiled_and_mapped(name):
    expected, counts = table(name, 235), np.arange(235)
    some = [0, 117, 234]
    assert_same([float(rate(name)(count)) for count in some], expected[some])
    assert_same(jax.jit(rate(name))(counts), expected)
    assert_same(jax.vmap(rate(name))(counts), expected)


@each_plugin
def test_any_kind_of_count(name):
    expected = table(name, 235)[117]
    for count in (117, np.uint32(117), np.int64(117), np.uint8(117), jax.numpy.uint32(117), np.array(117)):
        assert_same(rate(name)(count), expected)


@each_plugin
def test_a_count_that_is_no_integer_is_refused(name):
    with pytest.raises(TypeError, match="an integer: got float32"):
        rate(name)(117.0)


@each_plugin
def test_deterministic_and_its_resolved_options_build_it_again(name):
    first = build_table(activate([name]), make_context(235, PER_EPOCH))
    again = build_table(activate([str(first.spec)]), make_context(235, PER_EPOCH))
    np.testing.assert_array_equal(first.values, again.values)
    assert again.spec == first.spec


@each_plugin
def test_documented_example(name):
    (value,) = (entry.value for entry in find_plugins() if entry.name == name)
    results = doctest.testmod(importlib.import_module(value.partition(":")[0]))
    assert results.attempted > 0
    assert results.failed == 0


@each_plugin
def test_no_time_is_spent_on_what_is_refused(name):
    """An option that does not exist is refused by the name of the nearest, before anything is built."""
    with pytest.raises(lrtrain.UsageError, match=f"plugin '{name}' has no option 'no_such_option'"):
        activate([f"{name}(no_such_option=1)"])
