"""Formulas: what an expression may hold, how pieces follow one another, and that each plugin's is its table."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

import lrtrain
from lrtrain import Piece
from lrtrain.errors import PluginError
from lrtrain.plugins.discovery import find_plugins
from lrtrain.plugins.formula import MAX_DEPTH, ask_formula, checked, evaluate
from lrtrain.plugins.loading import activate, hooks_of, load_class
from lrtrain.schedules.table import formula, make_context, raw_schedule, tabulate
from tests.schedule_examples import ALL, EXAMPLES, source_of, values_of

STEPS = np.arange(12)

# ---------------------------------------------------------------------------------------------------------- expressions


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("3e-4", lambda t: 3e-4),
        ("-t + +2", lambda t: 2 - t),
        ("t // 5 + t % 5 * 2 - t / 5", lambda t: math.floor(t / 5) + (t - 5 * math.floor(t / 5)) * 2 - t / 5),
        ("2 ** -t ** 2", lambda t: math.pow(2, -(t * t))),
        ("sqrt(t) + floor(t / 7) + exp(-t) + log(t + 1)", lambda t: t**0.5 + t // 7 + math.exp(-t) + math.log1p(t)),
        ("(1 + cos(pi * t / 11)) / 2", lambda t: (1 + math.cos(math.pi * t / 11)) / 2),
        ("minimum(maximum(t, 3), 6 - 1)", lambda t: sorted([3, t, 5])[1]),
        ("7 if_not", None),
        ("0 * t + 9 ** 9 ** 9", lambda t: math.inf),
    ],
)
def test_an_expression_is_computed_as_python_computes_it(expression, expected):
    if expected is None:
        with pytest.raises(PluginError, match="is not an expression"):
            Piece(None, expression)
        return
    np.testing.assert_allclose(Piece(None, expression).values(STEPS), [expected(t) for t in STEPS.tolist()], rtol=1e-14)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("", "'' is not an expression: a formula has numbers, t, pi, "),
        ("t +", "'t \\+' is not an expression"),
        ("t\nimport os", "is not an expression"),
        ("__import__('os').system('id')", "has the function '__import__\\('os'\\).system': a formula has"),
        ("open('x')", "has the function 'open'"),
        ("sin(t)", "has the function 'sin'"),
        ("squrt(t)", "has the function 'squrt' \\(did you mean 'sqrt'\\?\\)"),
        ("t.real", "has 't.real'"),
        ("[t][0]", "has '\\[t\\]\\[0\\]'"),
        ("t if t < 3 else 1", "has 't if t < 3 else 1'"),
        ("lambda: t", "has 'lambda: t'"),
        ("(t := 3)", "has '\\(t := 3\\)'"),
        ("step / 10", "has the name 'step'"),
        ("t @ t", "has 't @ t'"),
        ("~t", "has '~t'"),
        ("'t'", "has 't', which is no finite number"),
        ("1j", "has 1j, which is no finite number"),
        ("True", "has True, which is no finite number"),
        ("1e999", "has inf, which is no finite number"),
        ("1" * 400, "which is no finite number"),
        ("maximum(t)", "has 'maximum\\(t\\)', where maximum takes 2 arguments:"),
        ("sqrt(*[t])", "where sqrt takes 1 argument:"),
        ("sqrt(t, out=t)", "where sqrt takes 1 argument:"),
        ("-" * (MAX_DEPTH + 1) + "t", f"is nested more than {MAX_DEPTH} levels deep"),
        ("(" * 1000 + "t" + ")" * 999, "is not an expression"),
        ("t+" * 1000 + "t", "is not a text of at most 2000 characters"),
        (3e-4, "the expression 0.0003 is not a text"),
    ],
)
def test_an_expression_with_anything_else_is_refused(expression, complaint):
    with pytest.raises(PluginError, match=complaint) as error:
        Piece(None, expression)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("until", [-1, 2.0, "5", True])
def test_an_end_that_is_no_count_is_refused(until):
    with pytest.raises(PluginError, match=f"until={until!r}: expected a number of steps"):
        Piece(until, "1")


# -------------------------------------------------------------------------------------------------------------- options


@dataclass(frozen=True)
class Options:
    low: float = -0.5
    high: float = 2.0
    count: int = 3
    mode: str = "up"
    t: float = 7.0
    cos: float = 7.0


def test_an_expression_names_the_options_of_its_plugin_that_are_numbers():
    piece = Piece(20, "low ** 2 + (high - low) * cos(t / count)", Options())
    assert piece.options() == {"low": -0.5, "high": 2.0, "count": 3}
    np.testing.assert_allclose(piece.values(STEPS), [0.25 + 2.5 * math.cos(t / 3) for t in STEPS.tolist()], rtol=1e-14)


def test_a_shifted_piece_has_numbers_for_its_options():
    piece = Piece(20, "low ** 2 + high * cos(t - 1)", Options())
    assert piece.shifted(0) == Piece(20, "(-0.5) ** 2 + 2.0 * cos(t - 1)")
    assert piece.shifted(5) == Piece(25, "(-0.5) ** 2 + 2.0 * cos(t - 6)")


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        (
            "hihg * t",
            "has the name 'hihg' \\(did you mean 'high'\\?\\): a formula has numbers, t, pi, options that are",
        ),
        ("mode * t", "has the name 'mode'"),
    ],
)
def test_a_name_that_is_no_option_or_no_number_is_refused(expression, complaint):
    with pytest.raises(PluginError, match=complaint):
        Piece(None, expression, Options())


@pytest.mark.parametrize("spec", ALL)
def test_an_option_that_a_formula_names_is_in_it_by_name_only(spec):
    """Whoever edits it where exported code has it by name changes all that depends on it."""
    source, plugin = source_of(spec, 235), activate([spec]).schedule_plugin()
    for name, value in source.constants.items():
        edited = replace(plugin.instance, **{name: value * (1 + 2**-12) or 2**-12})
        pieces = ask_formula(edited, plugin.entry.name, make_context(235))
        assert [(piece.until, piece.expression) for piece in pieces] == [
            (piece.until, piece.expression) for piece in source.pieces
        ]


# --------------------------------------------------------------------------------------------------------------- pieces


def test_each_piece_holds_from_the_end_of_the_one_before():
    pieces = [Piece(0, "1 / 0"), Piece(3, "t"), Piece(3, "sqrt(-1)"), Piece(5, "10"), Piece(None, "t - 5")]
    assert evaluate(pieces, np.arange(8)).tolist() == [0, 1, 2, 10, 10, 0, 1, 2]
    assert [piece.until for piece in checked(pieces)] == [3, 5, None]


@pytest.mark.parametrize(
    ("expression", "shifted"),
    [
        ("t / 7", "(t - 50) / 7"),
        ("t - 10", "t - 60"),
        ("2 ** (t // 3) - t % 2", "2 ** ((t - 50) // 3) - (t - 50) % 2"),
        ("10 - t", "10 - (t - 50)"),
        ("0.5", "0.5"),
    ],
)
def test_shifted(expression, shifted):
    piece = Piece(20, expression).shifted(50)
    assert piece == Piece(70, shifted)
    np.testing.assert_array_equal(piece.values(STEPS + 50), Piece(20, expression).values(STEPS))
    assert Piece(None, expression).shifted(0).until is None


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("'0.1 * t'", "it is '0.1 \\* t', and a formula is a list of Piece"),
        ("[]", "it is \\[\\], and a formula is a list of Piece"),
        ("[(None, '1')]", "and a formula is a list of Piece"),
        ("[Piece(5, '1')]", "its pieces end at \\[5\\]: the last one, and no other, has until=None"),
        ("[Piece(None, '1'), Piece(None, '1')]", "the last one, and no other, has until=None"),
        ("[Piece(5, '1'), Piece(4, '2'), Piece(None, '1')]", "no piece ends before the one before it"),
        ("[Piece(None, 'sin(t)')]", "'sin\\(t\\)' has the function 'sin'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_formula_is_refused_in_a_sentence_with_the_plugin(install_plugin, answer, complaint):
    source = f"""
@dataclass(frozen=True)
class Plugin:
    @hookimpl
    def build_schedule(self):
        return lambda step: 1.0

    def formula(self, context):
        return {answer}
"""
    active = activate([install_plugin("crooked", source)])
    with pytest.raises(PluginError, match=f"^the formula of plugin 'crooked' cannot be used: .*{complaint}") as error:
        formula(active, make_context(10))
    assert len(str(error.value).splitlines()) == 1


# ------------------------------------------------------------------------------------------------ the plugins' formulas


def test_every_schedule_plugin_has_examples():
    names = {entry.name for entry in find_plugins() if "build_schedule" in hooks_of(load_class(entry))}
    assert names == set(EXAMPLES)


@pytest.mark.parametrize("spec", ALL)
def test_each_formula_is_the_table(spec):
    """The table is float32, of optax's arithmetic in float64; the formula, in float64, knows nothing of optax."""
    pieces = formula(activate([spec]), make_context(235))
    np.testing.assert_allclose(evaluate(pieces, np.arange(235)), values_of(spec, 235), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize(("total_steps", "after"), [(4, 0), (2350, 500)])
def test_each_formula_of_a_default_for_other_lengths_and_after_the_end(name, total_steps, after):
    active = activate([name])
    total_steps = max(total_steps, active.schedule_plugin().instance.traits.min_steps)
    context = make_context(total_steps)
    expected = tabulate(raw_schedule(active, context), total_steps + after, name)
    values = evaluate(formula(active, context), np.arange(total_steps + after))
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-12)


def test_a_join_with_a_part_that_has_no_formula_has_none(install_plugin):
    source = """
@dataclass(frozen=True)
class Plugin:
    @hookimpl
    def build_schedule(self):
        return lambda step: 1.0
"""
    name = install_plugin("informal", source)
    context = make_context(100)
    assert formula(activate([name]), context) is None
    assert formula(activate([f"join(schedules=[linear, {name}()], boundaries=[50%])"]), context) is None
    assert context.formula(name, total_steps=10) is None


def test_the_formula_of_another_plugin_is_for_the_length_that_is_asked_for():
    (rising, stays) = make_context(100).formula("warmup-constant(peak_value=1, warmup_steps=20%)", total_steps=10)
    assert (rising.until, stays.shifted(0)) == (2, Piece(None, "1.0"))
    with pytest.raises(lrtrain.ScheduleError, match="a schedule of 0 steps was asked for"):
        make_context(100).formula("linear", total_steps=0)
    with pytest.raises(lrtrain.ScheduleError, match="made by hand"):
        lrtrain.ScheduleContext(100, 10, 10).formula("linear")
