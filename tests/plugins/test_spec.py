"""The grammar of specs: text, tables, and what is refused."""

from __future__ import annotations

import datetime
import json
import math
import tomllib
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from lrtrain import Duration, Spec, UsageError
from lrtrain.errors import SpecError
from lrtrain.plugins.spec import MAX_DEPTH, MAX_LENGTH, format_value, normal_name, parse_spec, parse_value, short

unhurried = settings(deadline=None)

# ------------------------------------------------------------------------------------------------- what is read

READ: dict[str, tuple[str, dict[str, Any]]] = {
    "sgdr": ("sgdr", {}),
    "sgdr(cycles=4, peak_value=1e-3)": ("sgdr", {"cycles": 4, "peak_value": 0.001}),
    "piecewise-constant(init_value=3e-4, boundaries_and_scales={25%: 0.5, 50%: 0.5, 75%: 0.5})": (
        "piecewise-constant",
        {"init_value": 0.0003, "boundaries_and_scales": {"25%": 0.5, "50%": 0.5, "75%": 0.5}},
    ),
    "join(schedules=[cosine-decay(init_value=3e-4, decay_steps=1000, alpha=0.7), linear(end_value=0)], "
    "boundaries=[1000])": (
        "join",
        {
            "schedules": [
                Spec("cosine-decay", {"init_value": 0.0003, "decay_steps": 1000, "alpha": 0.7}),
                Spec("linear", {"end_value": 0}),
            ],
            "boundaries": [1000],
        },
    ),
    "sgdr()": ("sgdr", {}),
    "  sgdr  ( cycles = 4 , )  ": ("sgdr", {"cycles": 4}),
    "sgdr(\n  cycles=4,\n)": ("sgdr", {"cycles": 4}),
    "a.b_c-d2": ("a.b_c-d2", {}),
    "a(peak-value=1)": ("a", {"peak_value": 1}),
    "a(b=true, c=False, d=NONE)": ("a", {"b": True, "c": False, "d": None}),
    "a(b=+4, c=-4, d=.5, e=5., f=-1E+2, g=007)": ("a", {"b": 4, "c": -4, "d": 0.5, "e": 5.0, "f": -100.0, "g": 7}),
    "a(b=cosine, c=25%, d=3ep, e=1_000, f=0x10, g=nan, h=\u0661)": (
        "a",
        {"b": "cosine", "c": "25%", "d": "3ep", "e": "1_000", "f": "0x10", "g": "nan", "h": "\u0661"},
    ),
    """a(b="4", c='true', d="x, y=(z]", e='"', f="'", g="", h='''', i="a""b")""": (
        "a",
        {"b": "4", "c": "true", "d": "x, y=(z]", "e": '"', "f": "'", "g": "", "h": "'", "i": 'a"b'},
    ),
    """a(b={"x y": 1, 'z"': 2}, c=[], d={}, e=[[1], []])""": (
        "a",
        {"b": {"x y": 1, 'z"': 2}, "c": [], "d": {}, "e": [[1], []]},
    ),
    "a(b=c(), d=[e(f=g(h=1))])": ("a", {"b": Spec("c"), "d": [Spec("e", {"f": Spec("g", {"h": 1})})]}),
    "a(b={plugin: c, d: 1})": ("a", {"b": Spec("c", {"d": 1})}),
}


@pytest.mark.parametrize("text", READ)
def test_read(text: str) -> None:
    name, options = READ[text]
    spec = parse_spec(text)
    assert (spec.name, spec.options) == (name, options)
    assert [type(each) for each in spec.options.values()] == [type(each) for each in options.values()]
    assert parse_spec(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "value"),
    [("4", 4), ("1e999", math.inf), ("[a, 'b c']", ["a", "b c"]), ("sgdr(cycles=2)", Spec("sgdr", {"cycles": 2}))],
)
def test_values_for_set(text: str, value: object) -> None:
    assert parse_value(text) == value


def test_a_word_without_parentheses_is_no_spec() -> None:
    assert parse_value("constant") == "constant"
    assert parse_value("constant()") == Spec("constant")


def test_normal_name() -> None:
    assert {normal_name(each) for each in ("warmup_cosine.decay", "Warmup-Cosine--Decay")} == {"warmup-cosine-decay"}


# ------------------------------------------------------------------------------------------- text and table are one

TABLES = {
    "sgdr": "plugin = 'sgdr'",
    "sgdr(cycles=4, peak_value=1e-3)": "plugin = 'sgdr'\ncycles = 4\npeak_value = 1e-3",
    "piecewise-constant(init_value=3e-4, boundaries_and_scales={25%: 0.5, 50%: 0.5})": (
        "plugin = 'piecewise-constant'\ninit_value = 3e-4\nboundaries_and_scales = {'25%' = 0.5, '50%' = 0.5}"
    ),
    "join(schedules=[constant(), linear(end_value=0, transition_steps=50%)], boundaries=[1000])": (
        "plugin = 'join'\nboundaries = [1000]\n[[schedules]]\nplugin = 'constant'\n"
        "[[schedules]]\nplugin = 'linear'\nend_value = 0\ntransition_steps = '50%'"
    ),
    "a(b-c=true, d=[], e='4', f=-0.5)": "plugin = 'a'\nb-c = true\nd = []\ne = '4'\nf = -0.5",
    "a(b={10: c(d={})})": "plugin = 'a'\n[b.10]\nplugin = 'c'\nd = {}",
}


@pytest.mark.parametrize("text", TABLES)
def test_text_and_toml_are_one(text: str) -> None:
    table = tomllib.loads(TABLES[text])
    spec = parse_spec(text)
    assert Spec.of(table) == spec
    assert Spec.of(spec.table()) == spec
    assert Spec.of(json.loads(json.dumps(spec.table()))) == spec


def test_table_is_plain() -> None:
    spec = parse_spec("join(schedules=[constant(value=1), linear()], boundaries={25%: none})")
    assert spec.table() == {
        "plugin": "join",
        "schedules": [{"plugin": "constant", "value": 1}, {"plugin": "linear"}],
        "boundaries": {"25%": None},
    }


def test_of_a_spec_is_that_spec() -> None:
    spec = Spec("sgdr")
    assert Spec.of(spec) is spec
    assert Spec.of("sgdr") == spec


def test_values_of_python_and_numpy() -> None:
    spec = Spec("a", {"b": (1, 2), "c": np.float32(0.5), "d": np.int64(7), "e": Duration("25%"), "f": Duration(1000)})
    assert spec == parse_spec("a(b=[1, 2], c=0.5, d=7, e=25%, f=1000)")
    assert {type(each) for each in spec.options.values()} == {list, float, int, str}
    assert Spec("a", {"b": Fraction(1, 4)}) == parse_spec("a(b=0.25)")


def test_a_spec_keeps_options_of_its_own() -> None:
    options = {"b": [1]}
    spec = Spec("a", options)
    options["c"] = [2]
    options["b"].append(3)
    assert spec == parse_spec("a(b=[1])")


# ----------------------------------------------------------------------------------------------- round trips

# What has .py in it is a file.
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,5}([-_.][A-Za-z0-9]{1,4}){0,2}", fullmatch=True).filter(
    lambda name: ".py" not in name
)
OPTIONS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name != "plugin")
LOOKS_LIKE = [
    "4",
    "-1e5",
    ".5",
    "true",
    "None",
    "25%",
    "3ep",
    "a(b)",
    "a=b",
    "[",
    "}",
    "'",
    '"',
    "'\"",
    "\"''",
    " a ",
    "",
]
TEXTS = st.text() | st.sampled_from(
    [*LOOKS_LIKE, "inf", "nan", "1e999", "\n", "\x85", "\u2028", "\ud800", "å", "\u2013", "9" * 50]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**1023), 2**1023) | st.floats(allow_nan=False) | TEXTS


def extended(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    tables = st.dictionaries(TEXTS, values, max_size=3).filter(lambda table: not isinstance(table.get("plugin"), str))
    return st.lists(values, max_size=3) | tables | st.builds(Spec, NAMES, st.dictionaries(OPTIONS, values, max_size=3))


VALUES = st.recursive(SCALARS, extended, max_leaves=8)
SPECS = st.builds(Spec, NAMES, st.dictionaries(OPTIONS, VALUES, max_size=4))


def same(first: Any, second: Any) -> bool:
    """Equal, and of the same types: True is not 1, and 2.0 is not 2."""
    if isinstance(first, Spec) and isinstance(second, Spec):
        return first.name == second.name and same(first.options, second.options)
    if isinstance(first, dict) and isinstance(second, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and first == second


@unhurried
@given(SPECS)
def test_a_spec_is_read_back_from_its_text(spec: Spec) -> None:
    assert same(parse_spec(str(spec)), spec)


@unhurried
@given(SPECS)
def test_a_spec_is_read_back_from_its_table(spec: Spec) -> None:
    assert same(Spec.of(spec.table()), spec)


@unhurried
@given(TEXTS)
@example("both ' and \" quotes")
def test_any_text_is_read_back(text: str) -> None:
    assert parse_value(format_value(text)) == text
    assert parse_value(format_value({text: text})) == {text: text}


@unhurried
@given(st.floats(allow_nan=False))
def test_any_number_is_read_back(number: float) -> None:
    value = parse_value(format_value(number))
    assert isinstance(value, float)
    assert (value, math.copysign(1, value)) == (number, math.copysign(1, number))


# ----------------------------------------------------------------------------------------------------- fuzz

PIECES = st.sampled_from(
    [*"()[]{},=:'\" \n", "sgdr", "a-b", "1", "-2.5e3", "25%", "true", "none", "''", '""', "é", "\\"]
)


@settings(deadline=2000, max_examples=300)
@given(st.text(max_size=200) | st.lists(PIECES, max_size=40).map("".join))
@example("'" * 9_999)
@example('"' * 9_998)
@example("a(b=" + "'" * 9_001)
@example("(" * 10_000)
@example("[" * 10_000)
@example(" " * 10_000)
@example("a" * 10_000)
@example("a-" * 5_000)
@example("a(b=" + "{1:" * 3_000)
@example("a(b=" + "1" * 9_000 + ")")
@example("{'\x1b'")
@example("{'\x1b': 1 2")
@example("{'\x1b': 1, '\x1b': 1}")
@example("{" + "x" * 9_000)
def test_random_text_is_read_or_refused(text: str) -> None:
    for read in (parse_spec, parse_value):
        try:
            result = read(text)
        except SpecError as error:
            message = str(error)
            assert message.isprintable(), "a sentence on one line"
            assert len(message) < 400
        else:
            assert same(
                read(str(result) if isinstance(result, Spec) and read is parse_spec else format_value(result)), result
            )


# -------------------------------------------------------------------------------------------------- what is refused

REFUSED = {
    "": "cannot read '': expected the name of a plugin at character 1, found the end",
    "  ": "cannot read '  ': expected the name of a plugin at character 3, found the end",
    "(cycles=4)": "cannot read '(cycles=4)': expected the name of a plugin at character 1, found '('",
    "'sgdr'": "cannot read ''sgdr'': expected the name of a plugin at character 1, found ''sgdr''",
    "4cycles": "'4cycles' is not the name of a plugin: letters, digits, - and _ are, as in warmup-cosine-decay",
    "sgdr-": "'sgdr-' is not the name of a plugin: letters, digits, - and _ are, as in warmup-cosine-decay",
    "sgdr/2": "'sgdr/2' is not the name of a plugin: letters, digits, - and _ are, as in warmup-cosine-decay",
    "é": "'é' is not the name of a plugin: letters, digits, - and _ are, as in warmup-cosine-decay",
    "sgdr linear": "cannot read 'sgdr linear': expected the end at character 6, found 'linear'",
    "sgdr(cycles=4))": "cannot read 'sgdr(cycles=4))': expected the end at character 15, found ')'",
    "sgdr(": "cannot read 'sgdr(': expected an option as NAME=VALUE at character 6, found the end",
    "sgdr(,)": "cannot read 'sgdr(,)': expected an option as NAME=VALUE at character 6, found ','",
    "sgdr(4)": "'4' is not the name of an option: letters, digits and _ are",
    "sgdr(cycles)": "cannot read 'sgdr(cycles)': expected '=' after cycles at character 12, found ')'",
    "sgdr(cycles=)": "cannot read 'sgdr(cycles=)': expected a value at character 13, found ')'",
    "sgdr(cycles=": "cannot read 'sgdr(cycles=': expected a value at character 13, found the end",
    "sgdr(cycles=4": "cannot read 'sgdr(cycles=4': expected ',' or ')' after cycles=4 at character 14, found the end",
    "sgdr(cycles=4 5)": "cannot read 'sgdr(cycles=4 5)': expected ',' or ')' after cycles=4 at character 15, found '5'",
    "a(b=[1 2])": "cannot read 'a(b=[1 2])': expected ',' or ']' in a list at character 8, found '2'",
    "a(b=[1": "cannot read 'a(b=[1': expected ',' or ']' in a list at character 7, found the end",
    "a(b={25%})": "cannot read 'a(b={25%})': expected ':' after 25% at character 9, found '}'",
    "a(b={25%: 1 2})": "cannot read 'a(b={25%: 1 2})': expected ',' or '}' after 25%:1 at character 13, found '2'",
    "a(b={:1})": "cannot read 'a(b={:1})': expected a key at character 6, found ':'",
    "a(b='x": "cannot read 'a(b='x': the quote at character 5 is never closed",
    'a(b =  "x""': 'cannot read \'a(b =  "x""\': the quote at character 8 is never closed',
    "sgdr(cycles=4, cycles=5)": "cannot read 'sgdr(cycles=4, cycles=5)': cycles is given twice",
    "a(b-c=4, b_c=5)": "cannot read 'a(b-c=4, b_c=5)': b_c is given twice",
    "a(b={25%: 1, '25%': 2})": "cannot read 'a(b={25%: 1, '25%': 2})': 25% is given twice",
    "a('b'=1)": "''b'' is not the name of an option: letters, digits and _ are",
    "a(b\n=": "cannot read 'a(b\\n=': expected a value at character 6, found the end",
    "a(b=\x1b[31m": "cannot read 'a(b=\\x1b[31m': expected ',' or ')' after b=\\x1b at character 6, found '['",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    assert str(caught.value) == REFUSED[text]
    assert isinstance(caught.value, UsageError)


def test_the_character_is_where_the_mistake_is() -> None:
    text = "join(schedules=[constant(value=1), linear(end_value:0)], boundaries=[50%])"
    with pytest.raises(SpecError, match=rf"at character {text.index(':') + 1}, found ':'$"):
        parse_spec(text)


def test_depth() -> None:
    def nested(levels: int) -> str:
        return "a(b=" + "[" * levels + "]" * levels + ")"

    assert str(parse_spec(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    message = rf"^'{short(nested(MAX_DEPTH + 1))}' is nested more than {MAX_DEPTH} levels deep$"
    with pytest.raises(SpecError, match=message.replace("(", r"\(").replace("[", r"\[").replace(")", r"\)")):
        parse_spec(nested(MAX_DEPTH + 1))
    specs = "a(b=" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1)
    with pytest.raises(SpecError, match=f"nested more than {MAX_DEPTH} levels deep"):
        parse_spec(specs)


def test_depth_of_a_table() -> None:
    value: Any = 1
    for _ in range(5000):
        value = [value]
    with pytest.raises(SpecError, match=f"^b is nested more than {MAX_DEPTH} levels deep$"):
        Spec.of({"plugin": "a", "b": value})


def test_size() -> None:
    longest = f"a(b='{'x' * (MAX_LENGTH - 7)}')"
    assert len(str(parse_spec(longest)).replace("'", "")) > MAX_LENGTH - 10
    with pytest.raises(
        SpecError, match=f"^a spec of {MAX_LENGTH + 1} characters is too long: at most {MAX_LENGTH} are"
    ):
        parse_spec(longest + " ")


def test_a_number_of_thousands_of_digits() -> None:
    with pytest.raises(SpecError, match=r"expected a number of fewer digits at character 5, found '1111.*\.\.\.'$"):
        parse_spec(f"a(b={'1' * 5000})")
    with pytest.raises(SpecError, match=r"^b is a number of 1661 bits: no option takes that much$"):
        parse_spec(f"a(b=1{'0' * 500})")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "{} names no plugin: it needs the key plugin, as in {plugin = 'sgdr'}"),
        ({"cycles": 4}, "{cycles: 4} names no plugin: it needs the key plugin, as in {plugin = 'sgdr'}"),
        ({"plugin": 4}, "{plugin: 4} names no plugin: it needs the key plugin, as in {plugin = 'sgdr'}"),
        ({"plugin": "sgdr(cycles=4)"}, "'sgdr(cycles=4)' is not the name of a plugin: letters, digits, - and _ are, "),
        ({"plugin": "a", 4: 1}, "'4' is not the name of an option: letters, digits and _ are"),
        ({"plugin": "a", "b c": 1}, "'b c' is not the name of an option: letters, digits and _ are"),
        ({"plugin": "a", "b-c": 1, "b_c": 2}, "b_c is given twice"),
        ({"plugin": "a", "b": {25: 1, "25": 2}}, 'b has two keys that read the same: ["25", "25"]'),
        (
            {"plugin": "a", "when": datetime.date(2026, 1, 1)},
            "when is a date: an option is a number, text, true, false, none, a list, a table or a spec",
        ),
        (
            {"plugin": "a", "b": [{"c": np.zeros(2)}]},
            "b is a ndarray: an option is a number, text, true, false, none, a list, a table or a spec",
        ),
        ({"plugin": "a", "b": [{"plugin": "c", "": 1}]}, "'' is not the name of an option: letters, digits and _ are"),
        (5, "5 is not a spec: give text such as 'sgdr(cycles=4)' or a table with the key plugin"),
        (None, "None is not a spec: give text such as 'sgdr(cycles=4)' or a table with the key plugin"),
    ],
)
def test_tables_that_are_refused(table: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Spec.of(table)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["", " sgdr", "sgdr ", "a--b", "-a", 5, None])
def test_names_that_are_refused(name: Any) -> None:
    with pytest.raises(
        SpecError, match="is not the name of a plugin: letters, digits, - and _ are, as in warmup-cosine"
    ):
        Spec(name)


def test_as_an_option() -> None:
    adapter = TypeAdapter(tuple[Spec, ...])
    expected = (Spec("constant"), Spec("sgdr", {"cycles": 4}), Spec("linear", {"end_value": 0}))
    json_text = '["constant", "sgdr(cycles=4)", {"plugin": "linear", "end_value": 0}]'
    assert adapter.validate_json(json_text) == expected
    assert adapter.dump_python(expected, mode="json") == ["constant", "sgdr(cycles=4)", "linear(end_value=0)"]
    with pytest.raises(ValidationError, match=r"cannot read 'sgdr\(': expected an option as NAME=VALUE at character 6"):
        adapter.validate_json('["sgdr("]')
    with pytest.raises(ValidationError, match="5 is not a spec: give text such as"):
        adapter.validate_json("[5]")


def test_short_is_one_line() -> None:
    assert short("a\nb\tc\x1b") == r"a\nb\tc\x1b"
    assert short("x" * 61) == "x" * 57 + "..."
    assert short("x" * 60) == "x" * 60
    assert short({"a": [1, None]}) == "{a: [1, none]}"
