"""The constant schedule: one value at every step, of a run of any length."""

import numpy as np
import optax
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table


class TestConstant(SchedulePluginSuite):
    plugin = "constant"
    specs = ("constant(value=0.5)",)


@pytest.mark.parametrize("total_steps", [1, 2, 235])
def test_every_step_has_the_value(total_steps):
    np.testing.assert_array_equal(table("constant(value=0.3)", total_steps), np.full(total_steps, np.float32(0.3)))


def test_default_is_the_learning_rate_of_the_tutorial():
    assert table("constant", 10)[0] == np.float32(optax.constant_schedule(1e-4)(0))


def test_zero_is_a_learning_rate():
    assert not table("constant(value=0)", 5).any()


@pytest.mark.parametrize("count", [0, 7, 10**6, np.uint32(7), np.int64(7)])
def test_any_count_is_taken(count):
    assert float(lrtrain.schedule("constant(value=0.5)", total_steps=10)(count)) == 0.5


@pytest.mark.parametrize("value", ["-1e-9", "fast", "true", "1e999"])
def test_a_value_that_is_no_learning_rate_is_refused(value):
    with pytest.raises(lrtrain.UsageError, match=r"'constant': value=.* is refused: expected number >= 0"):
        table(f"constant(value={value})", 10)


def test_a_misspelt_option_is_refused_with_the_nearest_name():
    with pytest.raises(lrtrain.UsageError, match=r"no option 'valu' \(did you mean 'value'\?\)"):
        table("constant(valu=1)", 10)
