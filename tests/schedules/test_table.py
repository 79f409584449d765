"""From a plugin to a schedule to its table, and the schedules that are handed out."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrtrain
from lrtrain import Duration, Schedule, ScheduleContext, ScheduleError, Spec, UsageError
from lrtrain.errors import OptionError, PluginError, SpecError
from lrtrain.plugins.loading import activate
from lrtrain.schedules import table as schedules
from lrtrain.schedules.table import MAX_STEPS, build_table, fingerprint, make_context, tabulate

Install = Callable[..., str]

# ------------------------------------------------------------------------------------------------------ the table

STAIRS = {0: 0.5, 1: 0.25}


def by_hand(step: int) -> float:
    return 0.5 if step < 3 else 0.25


ALL_KINDS: dict[str, Callable[[Any], Any]] = {
    "traceable": lambda step: jnp.where(step < 3, 0.5, 0.25),
    "optax": optax.piecewise_constant_schedule(0.5, {3: 0.5}),
    "plain Python": by_hand,
    "math": lambda step: math.ldexp(1, -1 - (step >= 3)),
    "numpy": lambda step: np.where(np.asarray(int(step)) < 3, 0.5, 0.25),
    "numpy scalar": lambda step: np.float32(by_hand(step)),
    "fraction": lambda step: Fraction(1, 2 if step < 3 else 4),
    "a table of one's own": lambda step: STAIRS[step // 3],
    "a list of one's own": lambda step: [0.5, 0.5, 0.5, 0.25, 0.25, 0.25][step],
    "array on the device": lambda step: jnp.float32(by_hand(step)),
}


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_table(kind: str) -> None:
    table = tabulate(ALL_KINDS[kind], 6, "test")
    assert table.dtype == np.float32
    assert table.tolist() == [0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_plain_python_sees_every_step_once_and_as_an_int() -> None:
    seen: list[int] = []

    def schedule(step: int) -> float:
        seen.extend([step] * isinstance(step, int))
        return 0.1 if step > 2 else 0.2

    tabulate(schedule, 5, "test")
    assert seen == [0, 1, 2, 3, 4]
    assert {type(step) for step in seen} == {int}


def test_a_whole_number_is_a_learning_rate() -> None:
    assert tabulate(lambda step: step, 4, "test").tolist() == [0, 1, 2, 3]
    assert tabulate(lambda step: 1 if step else 0, 3, "test").tolist() == [0, 1, 1]


def test_values_are_computed_in_float64_and_rounded_once() -> None:
    table = tabulate(lambda step: 1e-3 * 0.999 ** (step / 7) + 1 / 3, 5000, "test")
    steps = np.arange(5000, dtype=np.float64)
    np.testing.assert_array_max_ulp(table, (1e-3 * 0.999 ** (steps / 7) + 1 / 3).astype(np.float32), maxulp=1)


def test_neighbouring_steps_stay_apart_at_large_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    # In float32, 2**25 + 1 is 2**25.
    table = tabulate(lambda step: (step + 2**25) / 2**25 - 1, 64, "test")
    assert table.tolist() == [step / 2**25 for step in range(64)]


def test_settings_of_jax_are_left_alone() -> None:
    tabulate(lambda step: 0.1, 3, "test")
    assert not jax.config.read("jax_enable_x64")
    assert jnp.arange(1).dtype == np.int32


def test_a_million_steps_are_the_closed_form() -> None:
    total = 1_000_000
    spec = "linear(init_value=1e-3, end_value=1e-6, transition_begin=0)"
    values = build_table(activate([spec]), make_context(total)).values
    expected = 1e-3 + (1e-6 - 1e-3) * np.arange(total, dtype=np.float64) / total
    assert values.shape == (total,)
    np.testing.assert_array_max_ulp(values, expected.astype(np.float32), maxulp=1)


@pytest.mark.parametrize("part", [1, 4, 7, 100])
@pytest.mark.parametrize("kind", ["traceable", "plain Python"])
def test_long_tables_are_made_in_parts(kind: str, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = ALL_KINDS[kind]
    monkeypatch.setattr(schedules, "_PART", part)
    assert tabulate(schedule, 14, "test").tolist() == [0.5] * 3 + [0.25] * 11
    with pytest.raises(ScheduleError, match=r"gives -1 at step 11: a learning rate is finite and not negative$"):
        tabulate(lambda step: schedule(step) - 1.25 * (step > 10), 14, "test")


def test_spec_of_a_table_has_all_options() -> None:
    table = build_table(activate(["linear(end_value=1e-5)"]), make_context(10))
    expected = {"init_value": 1e-4, "end_value": 1e-5, "transition_steps": None, "transition_begin": 0}
    expected |= {"warmup_steps": 0}
    assert table.spec == Spec("linear", expected)


# ----------------------------------------------------------------------------------------- values that are refused

BAD = [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf"), (-1e-9, "-1e-09"), (1e39, "1e+39")]


@pytest.mark.parametrize(("value", "text"), BAD)
@pytest.mark.parametrize("traceable", [True, False])
def test_the_first_bad_step_is_named(value: float, text: str, traceable: bool) -> None:
    def schedule(step: Any) -> Any:
        return jnp.where(step >= 7, value, 0.1) if traceable else value if step >= 7 else 0.1

    assert len(tabulate(schedule, 7, "test")) == 7
    with pytest.raises(ScheduleError) as caught:
        tabulate(schedule, 20, "test")
    message = f"the schedule of plugin 'test' gives {text} at step 7: a learning rate is finite and not negative"
    assert str(caught.value) == message
    assert isinstance(caught.value, UsageError)


def late(value: object) -> Callable[[int], object]:
    return lambda step: value if step >= 2 else 0.1


@pytest.mark.parametrize(
    ("schedule", "complaint"),
    [
        (lambda step: None, "gives None at step 0: expected a number"),
        (late(None), "gives None at step 2: expected a number"),
        (late("0.1"), "gives '0.1' at step 2: expected a number"),
        (late("fast"), "gives 'fast' at step 2: expected a number"),
        (late(b"1"), "gives b'1' at step 2: expected a number"),
        (late(1j), "gives 1j at step 2: expected a number"),
        (late([0.1]), "gives [0.1] at step 2: expected a number"),
        (late(np.ones(1)), "gives array([1.]) at step 2: expected a number"),
        (late(np.ones((2, 2))), r"gives array([[1., 1.],\n       [1., 1.]]) at step 2: expected a number"),
        (lambda step: "0.1", "gives '0.1' at step 0: expected a number"),
        (lambda step: step * jnp.ones(3), "gives an array of shape (3,) at a step: expected a number"),
        (lambda step: jnp.ones(1), "gives an array of shape (1,) at a step: expected a number"),
        (lambda step: 1 / (3 - int(step)), "fails at step 3: ZeroDivisionError: division by zero"),
        (lambda step: [0.1, 0.2][int(step)], "fails at step 2: IndexError: list index out of range"),
    ],
)
def test_no_number(schedule: Any, complaint: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        tabulate(schedule, 10, "test")
    assert str(caught.value) == f"the schedule of plugin 'test' {complaint}"


def test_a_schedule_that_takes_no_step() -> None:
    with pytest.raises(
        ScheduleError, match=r"^the schedule of plugin 'test' fails at step 0: TypeError: .*takes 0 pos"
    ):
        tabulate(lambda: 0.1, 10, "test")  # type: ignore[arg-type,misc]


def test_an_error_of_several_lines_is_told_by_its_first() -> None:
    def schedule(step: int) -> float:
        raise RuntimeError("first line\nsecond line")

    with pytest.raises(ScheduleError, match=r"fails at step 0: RuntimeError: first line$") as caught:
        tabulate(schedule, 10, "test")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_error_of_ours_is_passed_on() -> None:
    def schedule(step: int) -> float:
        raise ScheduleError("said by the plugin")

    with pytest.raises(ScheduleError, match=r"^said by the plugin$"):
        tabulate(schedule, 10, "test")


# ------------------------------------------------------------------------------------------------------ fingerprint


def test_fingerprint_is_the_sha256_of_little_endian_float32() -> None:
    # printf '\0\0\0\x3f\0\0\x80\x3e\0\0\0\0' | sha256sum
    known = "2f0b98f0e2e619e55dc416d8d10167012738a04dce84956b1fd4b519f8af4356"
    values = np.array([0.5, 0.25, 0.0], np.float32)
    assert fingerprint(values) == known == hashlib.sha256(struct.pack("<3f", 0.5, 0.25, 0)).hexdigest()
    assert fingerprint(values.astype(">f4")) == known


def test_fingerprint_is_sensitive() -> None:
    values = np.linspace(0.1, 0.2, 1000, dtype=np.float32)
    last_bit = values.copy()
    last_bit[500] = np.nextafter(last_bit[500], np.float32(1))
    assert len({fingerprint(each) for each in (values, values[:-1], values[::-1], last_bit)}) == 4
    assert fingerprint(values.copy()) == fingerprint(values)


def test_fingerprint_of_the_tutorials_run() -> None:
    first, second = (build_table(activate([each]), make_context(2350, 235)) for each in ("sgdr", "sgdr(cycles=3)"))
    assert fingerprint(first.values) == fingerprint(second.values)


# ------------------------------------------------------------------------------------------- what a plugin answers

BUILDING = """
@dataclass(frozen=True)
class Plugin:
    value: float = 0.1

    @hookimpl
    def build_schedule(self, context):
        {body}
"""


def building(body: str) -> str:
    return BUILDING.format(body=body.replace("\n", "\n        "))


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("return None", "plugin 'fake' built None: a schedule is a callable from the step to the learning rate"),
        ("return 0.1", "plugin 'fake' built 0.1: a schedule is a callable from the step to the learning rate"),
        (
            "import numpy as np\nreturn np.zeros((2, 1))",
            r"plugin 'fake' built array([[0.],\n       [0.]]): a schedule is a callable from the step",
        ),
        ("raise ValueError('no\\nway')", "plugin 'fake' cannot build its schedule: ValueError: no"),
        ("raise KeyError", "plugin 'fake' cannot build its schedule: KeyError"),
        ("raise ScheduleError('value is odd')", "plugin 'fake': value is odd"),
        ("raise ScheduleError(\"plugin 'fake' is odd\")", "plugin 'fake' is odd"),
        (
            "return lambda step: -1.0",
            "the schedule of plugin 'fake' gives -1 at step 0: a learning rate is finite and not",
        ),
        (
            "return lambda step: float(step > 3) - 1",
            "the schedule of plugin 'fake' gives -1 at step 0: a learning rate",
        ),
    ],
)
def test_answers_that_are_refused(install_plugin: Install, body: str, complaint: str) -> None:
    install_plugin("fake", building(body))
    for attempt in (
        lambda: build_table(activate(["fake"]), make_context(10)),
        lambda: lrtrain.schedule("fake", total_steps=10),
    ):
        with pytest.raises(ScheduleError) as caught:
            attempt()
        assert str(caught.value).startswith(complaint)


def test_the_context_of_a_plugin(install_plugin: Install) -> None:
    install_plugin("fake", building("raise ScheduleError(repr(context))"))
    with pytest.raises(ScheduleError) as caught:
        lrtrain.schedule("fake", total_steps=2351, steps_per_epoch=235)
    assert str(caught.value) == "plugin 'fake': ScheduleContext(total_steps=2351, steps_per_epoch=235, epochs=11)"


def test_numpys_integers_reach_a_plugin_as_pythons(install_plugin: Install) -> None:
    install_plugin("fake", building("raise ScheduleError(repr(context))"))
    with pytest.raises(ScheduleError) as caught:
        lrtrain.schedule("fake", total_steps=np.int32(100), steps_per_epoch=np.uint8(10))
    assert str(caught.value) == "plugin 'fake': ScheduleContext(total_steps=100, steps_per_epoch=10, epochs=10)"


# ------------------------------------------------------------------------------------------ schedules to be taken away

DROP = "piecewise-constant(init_value=1, boundaries_and_scales={50: 0.5})"


@pytest.fixture(scope="module")
def drop() -> Schedule:
    """Returns 1 before step 50 and 0.5 from there on; optax's own never drops where the count is unsigned."""
    return lrtrain.schedule(DROP, total_steps=100)


@pytest.mark.parametrize(
    "count",
    [50, np.int64(50), np.uint32(50), np.uint8(50), np.array(50), jnp.int32(50), jnp.uint32(50), jnp.uint8(50)],
    ids=lambda count: f"{type(count).__name__}-{getattr(count, 'dtype', 'int')}",
)
def test_any_integer_count(drop: Schedule, count: Any) -> None:
    rate = drop(count)
    assert (rate.dtype, rate.shape, float(rate)) == (np.float32, (), 0.5)


@pytest.mark.parametrize("shape", [(0,), (1,), (100,), (10, 10), (2, 5, 10), (3, 0)])
@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64])
def test_arrays_of_any_shape(drop: Schedule, shape: tuple[int, ...], dtype: Any) -> None:
    counts = np.arange(math.prod(shape), dtype=dtype).reshape(shape)
    rates = drop(counts)
    assert rates.dtype == np.float32
    np.testing.assert_array_equal(rates, np.where(counts < 50, 1.0, 0.5))


@pytest.mark.parametrize("count", [1.0, np.float32(1), jnp.ones(3), True, np.zeros(2, bool)])
def test_a_count_that_is_no_integer(drop: Schedule, count: Any) -> None:
    message = r"^a schedule is called with the count of updates, an integer: got (float32|bool)$"
    with pytest.raises(TypeError, match=message):
        drop(count)


def test_under_transformations(drop: Schedule) -> None:
    counts = jnp.arange(100)
    expected = [1.0] * 50 + [0.5] * 50
    assert jax.jit(drop)(counts).tolist() == expected
    assert jax.vmap(drop)(counts).tolist() == expected
    assert jax.lax.map(drop, counts).tolist() == expected
    assert float(jax.grad(lambda weight: weight**2 * drop(jnp.int32(70)))(3.0)) == 3.0


def test_built_while_another_function_is_traced() -> None:
    def step(count: jax.Array) -> jax.Array:
        rate = lrtrain.schedule(DROP, total_steps=100)
        return 2 * rate(count)

    assert float(jax.jit(step)(jnp.uint32(50))) == 1.0


@pytest.mark.parametrize("spec", [DROP, "fake"])
def test_with_optax(spec: str, install_plugin: Install) -> None:
    install_plugin("fake", building("return lambda step: 1.0 if step < 50 else 0.5"))
    optimizer = optax.sgd(lrtrain.schedule(spec, total_steps=100))
    update = jax.jit(lambda state: optimizer.update(jnp.float32(1), state))
    state, weight = optimizer.init(jnp.float32(0)), 0.0
    for _ in range(60):
        change, state = update(state)
        weight += float(change)
    assert weight == -(50 + 10 * 0.5)


def test_plain_python_becomes_a_look_up(install_plugin: Install) -> None:
    install_plugin("fake", building("return lambda step: {0: 0.5, 1: 0.25, 2: 0.125}[step]"))
    rate = lrtrain.schedule("fake", total_steps=3)
    assert rate(np.arange(3, dtype=np.uint32)).tolist() == [0.5, 0.25, 0.125]
    assert [float(rate(count)) for count in (-1, 3, 1000, 2**31 - 1)] == [0.5, 0.125, 0.125, 0.125]
    assert jax.jit(rate)(jnp.int32(1)) == 0.25


@pytest.mark.parametrize("body", ["import jax.numpy as jnp\nreturn lambda step: jnp.sqrt(5.0 - step)", "return [].pop"])
def test_a_bad_value_shows_at_once(install_plugin: Install, body: str) -> None:
    install_plugin("fake", building(body))
    with pytest.raises(
        ScheduleError, match=r"^the schedule of plugin 'fake' (gives nan at step 6: |fails at step 0: Ind)"
    ):
        lrtrain.schedule("fake", total_steps=10)


@pytest.mark.parametrize("total", [0, -1, MAX_STEPS + 1, 10.0, 2.5, "10", True, None, math.nan])
def test_lengths_that_are_refused(total: Any) -> None:
    with pytest.raises(ScheduleError) as caught:
        lrtrain.schedule("constant", total_steps=total)
    assert str(caught.value) == f"total_steps={total!r} is refused: a run has 1 to 2147483647 steps"
    if total is not None:
        with pytest.raises(ScheduleError) as caught:
            lrtrain.schedule("constant", total_steps=10, steps_per_epoch=total)
        assert str(caught.value) == f"steps_per_epoch={total!r} is refused: an epoch has 1 to 2147483647 steps"


def test_lengths_at_the_bounds() -> None:
    assert make_context(1) == ScheduleContext(total_steps=1, steps_per_epoch=1, epochs=1)
    assert make_context(MAX_STEPS, MAX_STEPS).epochs == 1
    assert make_context(MAX_STEPS, 1).epochs == MAX_STEPS
    assert lrtrain.schedule("constant", total_steps=1)(0) == np.float32(1e-4)


# ------------------------------------------------------------------------------------------------------ the context


def test_durations() -> None:
    context = make_context(2350, 235)
    assert [context.steps(each) for each in ("25%", 1000, "1000", "3ep", Duration("0.5ep"))] == [
        587,
        1000,
        1000,
        705,
        117,
    ]
    with pytest.raises(SpecError, match=r"^'x' is not a duration: "):
        context.steps("x")


def test_durations_in_epochs_need_the_length_of_an_epoch() -> None:
    spec = "linear(transition_begin=1ep)"
    rate = lrtrain.schedule(spec, total_steps=100, steps_per_epoch=10)
    np.testing.assert_allclose(rate(np.array([10, 55, 110])), [1e-4, 5e-5, 0], rtol=1e-6)
    with pytest.raises(ScheduleError) as caught:
        lrtrain.schedule(spec, total_steps=100)
    cure = "give the number of epochs with its steps"
    assert str(caught.value) == f"plugin 'linear': 1ep counts epochs, and the length of an epoch is not known: {cure}"


def test_building_needs_a_context_of_ours() -> None:
    with pytest.raises(ScheduleError, match=r"^this context cannot build other schedules: it was made by hand"):
        ScheduleContext(total_steps=10, steps_per_epoch=5, epochs=2).build("constant")


def test_a_table_where_jax_has_no_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = jax.local_devices()

    def without_cpu(backend: str | None = None) -> list[jax.Device]:
        if backend == "cpu":
            raise RuntimeError("Unknown backend cpu. Available backends are ['cuda']")
        return devices

    schedule = optax.cosine_decay_schedule(1e-3, 7)
    expected = tabulate(schedule, 7, "cosine")
    monkeypatch.setattr(jax, "local_devices", without_cpu)
    np.testing.assert_array_equal(tabulate(schedule, 7, "cosine"), expected)


def test_building_within_building(install_plugin: Install) -> None:
    install_plugin("outer", building("return context.build('inner', total_steps=40)"))
    install_plugin("inner", building("raise ScheduleError(repr(context))"))
    with pytest.raises(ScheduleError) as caught:
        lrtrain.schedule("outer", total_steps=100, steps_per_epoch=12)
    assert str(caught.value) == (
        "plugin 'outer': plugin 'inner': ScheduleContext(total_steps=40, steps_per_epoch=12, epochs=4)"
    )


def test_schedules_within_schedules(install_plugin: Install) -> None:
    install_plugin("outer", building("inner = context.build('inner')\nreturn lambda step: 2 * inner(step)"))
    install_plugin("inner", building("return lambda step: [1.0, 0.5, 0.25][step] * context.total_steps"))
    table = build_table(activate(["outer"]), make_context(3)).values
    assert table.tolist() == [6.0, 3.0, 1.5]
    assert lrtrain.schedule("outer", total_steps=3)(np.arange(4)).tolist() == [6.0, 3.0, 1.5, 1.5]


def test_joined_plain_python(install_plugin: Install) -> None:
    install_plugin("fake", building("return lambda step: 1.0 if step < 2 else self.value"))
    spec = (
        "join(schedules=[fake(value=0.5), join(schedules=[fake(), constant(value=2)], boundaries=[3])], boundaries=[4])"
    )
    table = build_table(activate([spec]), make_context(9)).values
    assert table.tolist() == np.array([1, 1, 0.5, 0.5, 1, 1, 0.1, 2, 2], np.float32).tolist()


@pytest.mark.parametrize(
    ("body", "error", "complaint"),
    [
        (
            "return context.build('inner', total_steps=0)",
            ScheduleError,
            "plugin 'outer': a schedule of 0 steps was asked for",
        ),
        ("return context.build('inner(')", SpecError, "plugin 'outer': cannot read 'inner('"),
        (
            "return context.build('iner')",
            PluginError,
            "plugin 'outer': no plugin 'iner' is installed (did you mean 'inner'?)",
        ),
        ("return context.build('inner(a=1)')", OptionError, "plugin 'outer': plugin 'inner' has no option 'a'"),
        (
            "return context.build('inner')",
            ScheduleError,
            "plugin 'outer': plugin 'inner' cannot build its schedule: KeyError",
        ),
        (
            "return context.build('bad')",
            ScheduleError,
            "plugin 'outer': the schedule of plugin 'bad' fails at step 3: ",
        ),
    ],
)
def test_errors_within_name_both(install_plugin: Install, body: str, error: type[Exception], complaint: str) -> None:
    install_plugin("outer", building(body))
    install_plugin("inner", building("raise KeyError('x')"))
    install_plugin("bad", building("return lambda step: 1 / (3 - int(step))"))
    with pytest.raises(error) as caught:
        lrtrain.schedule("outer", total_steps=10)
    assert type(caught.value) is error
    assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize("spec", ["sgdr(", "nope", "sgdr(cycles=0)", "sgdr(cycles=200)"])
def test_what_cannot_be_built_is_a_usage_error(spec: str) -> None:
    with pytest.raises(UsageError):
        lrtrain.schedule(spec, total_steps=100)
