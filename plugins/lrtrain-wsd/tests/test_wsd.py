"""Warmup, stable, decay against its closed form; optax has no such schedule."""

import numpy as np
import pytest

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table


class TestWSD(SchedulePluginSuite):
    plugin = "wsd"
    specs = (
        "wsd(warmup_steps=0, end_value=1e-5)",
        "wsd(decay_type=linear, decay_steps=30%)",
        "wsd(decay_type=cosine, init_value=1e-5, end_value=1e-5)",
        "wsd(decay_type=square, warmup_steps=0, decay_steps=100%)",
        "wsd(decay_type=exponential, end_value=3e-6)",
    )


@pytest.mark.parametrize(("warmup", "decay"), [(0, 0), (0, 100), (100, 0), (50, 50), (10, 20)])
@pytest.mark.parametrize(("init", "end"), [(0, 0), (2, 0.5)])
def test_closed_form(warmup, decay, init, end):
    got = table(f"wsd(init_value={init}, peak_value=1, end_value={end}, warmup_steps={warmup}, decay_steps={decay})")
    count = np.arange(100)
    falling = end + (1 - end) * (1 - np.sqrt(np.clip(count - (100 - decay), 0, None) / max(decay, 1)))
    rising = init + (1 - init) * count / max(warmup, 1)
    expected = np.where(count < warmup, rising, np.where(count >= 100 - decay, falling, 1))
    np.testing.assert_allclose(got, expected, rtol=2e-7, atol=1e-8)


@pytest.mark.parametrize(("shape", "values"), [
    ("1-sqrt", [0, 0.5, 1, 1, 1, 1, 1, 0.77639, 0.29289, 0.02532, 0]),
    ("linear", [0, 0.5, 1, 1, 1, 1, 1, 0.95, 0.5, 0.05, 0]),
    ("cosine", [0, 0.5, 1, 1, 1, 1, 1, 0.99384, 0.5, 0.00616, 0]),
    ("square", [0, 0.5, 1, 1, 1, 1, 1, 0.9975, 0.75, 0.0975, 0]),
])  # fmt: skip
def test_reference_values_of_the_shapes(shape, values):
    rate = lrtrain.schedule(f"wsd(peak_value=1, warmup_steps=10, decay_steps=20, decay_type={shape})", total_steps=100)
    got = [float(rate(step)) for step in (0, 5, 10, 25, 50, 79, 80, 81, 90, 99, 100)]
    np.testing.assert_allclose(got, values, rtol=0, atol=6e-6)


@pytest.mark.parametrize("total", [1, 2, 7, 100, 235])
def test_an_exponential_decay_loses_the_same_share_at_each_step(total):
    got = table("wsd(peak_value=2, end_value=0.5, warmup_steps=0, decay_steps=100%, decay_type=exponential)", total)
    np.testing.assert_allclose(got, 2 * np.cumprod([1, *[0.25 ** (1 / total)] * (total - 1)]), rtol=3e-6)


def test_the_end_is_one_step_after_the_run():
    rate = lrtrain.schedule("wsd(peak_value=1, end_value=0.25)", total_steps=100)
    assert float(rate(99)) > 0.25
    assert float(rate(100)) == float(rate(1000)) == 0.25


def test_the_beginning_does_not_depend_on_the_length_of_the_run():
    options = "warmup_steps=10, decay_steps=20"
    np.testing.assert_array_equal(table(f"wsd({options})", 100)[:80], table(f"wsd({options})", 500)[:80])


def test_a_warmup_of_no_step_begins_at_the_peak():
    assert table("wsd(peak_value=1)", 9)[0] == 1


@pytest.mark.parametrize(("options", "message"), [
    ("warmup_steps=60, decay_steps=50%", "warmup_steps=60 and decay_steps=50% are 110 steps together"),
    ("warmup_steps=101", "warmup_steps=101 and decay_steps=20% .* make one of them shorter"),
    ("decay_steps=120%", "is more than the whole run"),
    ("end_value=-0.1", "end_value=-0.1 is refused: expected number >= 0"),
    ("decay_type=exponential", "decay_type=exponential goes from peak_value=0.0003 to end_value=0.0"),
    ("decay_type=sqrt", "decay_type='?sqrt'? is refused"),
    ("stable_steps=10", "no option 'stable_steps'"),
])  # fmt: skip
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"wsd({options})")
