"""Options of plugins: described, checked, defaulted and written out from the fields of a dataclass."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from annotated_types import Ge, Le, Lt
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtrain import Doc, Duration, LearningRate, PositiveFloat, PositiveInt, Share, Spec, UsageError, exact
from lrtrain.errors import OptionError, PluginError
from lrtrain.plugins.options import make, options_of, resolved, type_text
from lrtrain.plugins.spec import parse_spec, parse_value

if TYPE_CHECKING:
    from decimal import Decimal

FORMS = "a duration is a number of steps (1000), a share of the run (25%) or epochs (3ep)"


@dataclass(frozen=True)
class Everything:
    """One option of each kind."""

    required: Annotated[LearningRate, Doc("must be given")]
    rate: Annotated[LearningRate, Doc("a learning rate")] = 1e-4
    factor: Annotated[PositiveFloat, Doc("a factor")] = 0.5
    count: Annotated[PositiveInt, Doc("a count")] = 3
    share: Annotated[Share, Doc("a share")] = 0.29
    flag: Annotated[bool, Doc("a flag")] = False
    mode: Annotated[Literal["linear", "cosine"], Doc("a choice")] = "linear"
    text: Annotated[str, Doc("a text")] = "25%"
    length: Annotated[Duration, Doc("a length")] = Duration("25%")
    maybe: Annotated[Duration | None, Doc("a length, or none")] = None
    rates: Annotated[LearningRate | tuple[LearningRate, ...], Doc("one or several")] = (1e-4, 2e-4)
    inner: Annotated[Spec, Doc("a schedule")] = Spec("constant")
    several: Annotated[tuple[Spec, ...], Doc("schedules")] = (Spec("linear", {"end_value": 0}), Spec("sgdr"))
    table: Annotated[dict[Duration, PositiveFloat], Doc("factors")] = field(
        default_factory=lambda: {Duration("25%"): 0.5, Duration(1000): 0.1}
    )
    bare: int = 7
    derived: float = field(init=False, default=1.0)


EXPECTED = [
    ("required", "number >= 0", None, "must be given"),
    ("rate", "number >= 0", "0.0001", "a learning rate"),
    ("factor", "number > 0", "0.5", "a factor"),
    ("count", "whole number >= 1", "3", "a count"),
    ("share", "number >= 0 and <= 1", "0.29", "a share"),
    ("flag", "true or false", "false", "a flag"),
    ("mode", "linear or cosine", "linear", "a choice"),
    ("text", "text", "25%", "a text"),
    ("length", "duration", "25%", "a length"),
    ("maybe", "duration or none", "none", "a length, or none"),
    ("rates", "number >= 0 or list of number >= 0", "[0.0001, 0.0002]", "one or several"),
    ("inner", "spec", "constant()", "a schedule"),
    ("several", "list of spec", "[linear(end_value=0), sgdr()]", "schedules"),
    ("table", "table of duration: number > 0", "{25%: 0.5, 1000: 0.1}", "factors"),
    ("bare", "whole number", "7", ""),
]


def made(**given: Any) -> Any:
    return make(Everything, "plugin 'every'", {"required": 1, **Spec("every", given).options})


def refusal(**given: Any) -> str:
    with pytest.raises(OptionError) as caught:
        made(**given)
    assert isinstance(caught.value, UsageError)
    return str(caught.value)


# --------------------------------------------------------------------------------------------------- described


def test_options_in_words() -> None:
    assert [(each.name, each.type, each.default, each.doc) for each in options_of(Everything)] == EXPECTED


@pytest.mark.parametrize("name", [name for name, _, default, _ in EXPECTED if default is not None])
def test_a_default_is_text_that_gives_the_default(name: str) -> None:
    (default,) = (each.default for each in options_of(Everything) if each.name == name)
    assert default is not None
    assert getattr(made(**{name: parse_value(default)}), name) == getattr(made(), name)


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (Annotated[float, Ge(0), Lt(1)], "number >= 0 and < 1"),
        (Annotated[int, Le(5)], "whole number <= 5"),
        (list[float], "list of number"),
        (Mapping[str, int], "table of text: whole number"),
        (str | None, "text or none"),
        (Path, "Path"),
        (Literal[1, 2], "1 or 2"),
    ],
)
def test_types_in_words(hint: Any, text: str) -> None:
    assert type_text(hint) == text


# ----------------------------------------------------------------------------------------------------- accepted


@pytest.mark.parametrize(
    ("name", "given_value", "value"),
    [
        ("rate", 0, 0.0),
        ("rate", 3, 3.0),
        ("rate", 1e-4, 1e-4),
        ("count", 1, 1),
        ("share", "29%", 0.29),
        ("share", "100%", 1.0),
        ("share", "0%", 0.0),
        ("share", 1, 1.0),
        ("flag", True, True),
        ("mode", "cosine", "cosine"),
        ("text", "", ""),
        ("length", 1000, Duration(1000)),
        ("length", 1000.0, Duration(1000)),
        ("length", "0.5ep", Duration("0.5ep")),
        ("maybe", "10%", Duration("10%")),
        ("maybe", None, None),
        ("rates", 0.5, 0.5),
        ("rates", [0.5, 0, 1], (0.5, 0.0, 1.0)),
        ("rates", [], ()),
        ("inner", "sgdr", Spec("sgdr")),
        ("inner", Spec("sgdr", {"cycles": 2}), Spec("sgdr", {"cycles": 2})),
        ("inner", {"plugin": "sgdr", "cycles": 2}, Spec("sgdr", {"cycles": 2})),
        ("several", ["constant", "sgdr(cycles=2)", {"plugin": "linear"}], None),
        ("table", {"50%": 1, 10: 0.5}, {Duration("50%"): 1.0, Duration(10): 0.5}),
    ],
)
def test_accepted(name: str, given_value: Any, value: Any) -> None:
    if name == "several":
        value = (Spec("constant"), Spec("sgdr", {"cycles": 2}), Spec("linear"))
    result = getattr(made(**{name: given_value}), name)
    assert result == value
    assert type(result) is type(value)


def test_the_rest_keep_their_defaults() -> None:
    assert made(count=5) == Everything(1.0, count=5)


@given(st.integers(0, 10_000))
@settings(deadline=None)
def test_exact_is_the_decimal_that_was_meant(hundredths: int) -> None:
    share = float(f"{hundredths / 10_000:.4f}")
    assert exact(share) == Fraction(hundredths, 10_000)
    assert math.floor(exact(0.29) * 100) == 29


# ------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("rate='4'", 'rate="4" is refused: expected number >= 0'),
        ("rate=true", "rate=true is refused: expected number >= 0"),
        ("rate=none", "rate=none is refused: expected number >= 0"),
        ("rate=fast", "rate=fast is refused: expected number >= 0"),
        ("rate=-1e-4", "rate=-0.0001 is refused: expected number >= 0"),
        ("rate=1e999", "rate=1e999 is refused: expected number >= 0, and finite"),
        ("rate=-1e999", "rate=-1e999 is refused: expected number >= 0, and finite"),
        ("rate=nan", "rate=nan is refused: expected number >= 0"),
        ("rate=[1]", "rate=[1] is refused: expected number >= 0"),
        ("rate={1: 1}", "rate={1: 1} is refused: expected number >= 0"),
        ("rate=constant()", "rate=constant() is refused: expected number >= 0"),
        ("factor=0", "factor=0 is refused: expected number > 0"),
        ("count=0", "count=0 is refused: expected whole number >= 1"),
        ("count=2.0", "count=2.0 is refused: expected whole number >= 1"),
        ("count=true", "count=true is refused: expected whole number >= 1"),
        ("count='2'", 'count="2" is refused: expected whole number >= 1'),
        ("share=1.5", "share=1.5 is refused: expected number >= 0 and <= 1"),
        ("share='0.5'", 'share="0.5" is refused: expected number >= 0 and <= 1'),
        ("share=150%", "share=150% is refused: '150%' is more than the whole run: a share is at most 100%"),
        ("share=x%", f"share=x% is refused: 'x%' is not a duration: {FORMS}"),
        ("flag=1", "flag=1 is refused: expected true or false"),
        ("flag='true'", 'flag="true" is refused: expected true or false'),
        ("flag=yes", "flag=yes is refused: expected true or false"),
        ("mode=cosin", "mode=cosin is refused: expected linear or cosine"),
        ("mode=none", "mode=none is refused: expected linear or cosine"),
        ("text=4", "text=4 is refused: expected text"),
        ("length=1.5", f"length=1.5 is refused: 1.5 is not a whole number of steps: {FORMS}"),
        ("length=-1", f"length=-1 is refused: '-1' is not a duration: {FORMS}"),
        ("length=true", f"length=true is refused: True is not a duration: {FORMS}"),
        ("length=101%", "length=101% is refused: '101%' is more than the whole run: a share is at most 100%"),
        ("maybe=101%", "maybe=101% is refused: '101%' is more than the whole run: a share is at most 100%"),
        ("rates=-1", "rates=-1 is refused: expected number >= 0 or list of number >= 0"),
        ("rates=[1, -2]", "rates=[1, -2] is refused: expected number >= 0 or list of number >= 0, and item 2 is -2"),
        ("rates=[1, a]", "rates=[1, a] is refused: expected number >= 0 or list of number >= 0, and item 2 is a"),
        (
            "several=[constant, 5]",
            "several=[constant, 5] is refused: 5 is not a spec: give text ...",
        ),
        ("several=constant", "several=constant is refused: expected list of spec"),
        (
            "inner='sgdr('",
            'inner="sgdr(" is refused: '
            "cannot read 'sgdr(': expected an option as NAME=VALUE at character 6, found the end",
        ),
        ("table={25%: -1}", "table={25%: -1} is refused: expected table of duration: number > 0, and 25% is -1"),
        ("table={25x: 1}", f"table={{25x: 1}} is refused: '25x' is not a duration: {FORMS}"),
        ("table=[1]", "table=[1] is refused: expected table of duration: number > 0"),
        ("bare='a\nb'", r'bare="a\nb" is refused: expected whole number'),
    ],
)
def test_refused(options: str, complaint: str) -> None:
    beginning, *rest = f"plugin 'every': {complaint}".split(" ...")
    message = refusal(**parse_spec(f"every({options})").options)
    assert message.startswith(beginning) if rest else message == beginning


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_not_finite(value: float) -> None:
    assert refusal(rate=value).endswith("is refused: expected number >= 0, and finite")
    assert "is refused: expected" in refusal(rates=[1, value])
    assert "is refused: expected" in refusal(share=value)


def test_a_long_value_is_cut_in_the_message() -> None:
    message = refusal(rate=list(range(1000)))
    assert message.startswith("plugin 'every': rate=[0, 1, 2, ")
    assert message.endswith("... is refused: expected number >= 0")
    assert len(message) < 300


def test_unknown_option() -> None:
    assert refusal(coutn=4).startswith(
        "plugin 'every' has no option 'coutn' (did you mean 'count'?); it has required, rate, factor, count, share, "
    )
    assert refusal(zzzz=4).startswith("plugin 'every' has no option 'zzzz'; it has required, ")
    assert refusal(derived=4).startswith("plugin 'every' has no option 'derived'; it has required, ")


def test_unknown_option_of_a_plugin_without_any() -> None:
    @dataclass(frozen=True)
    class Bare:
        pass

    assert options_of(Bare) == ()
    with pytest.raises(OptionError, match=r"^plugin 'bare' has no option 'value'; it has none$"):
        make(Bare, "plugin 'bare'", {"value": 1})


def test_required_option() -> None:
    with pytest.raises(OptionError) as caught:
        make(Everything, "plugin 'every'", {"count": 4})
    assert str(caught.value) == "plugin 'every' needs its option 'required' (must be given): give required=..."


@dataclass(frozen=True)
class Ordered:
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low={self.low} is over high={self.high}: give low <= high")


def test_an_error_of_post_init_is_a_sentence() -> None:
    with pytest.raises(OptionError) as caught:
        make(Ordered, "plugin 'ordered'", {"low": 2})
    assert str(caught.value) == "plugin 'ordered': low=2.0 is over high=1.0: give low <= high"
    assert isinstance(caught.value.__cause__, ValueError)


@dataclass(frozen=True)
class Hidden:
    value: Decimal


def test_a_type_that_is_not_imported_at_run_time() -> None:
    message = (
        r"^the options of Hidden have a type that is not defined at run time: name 'Decimal' is not defined; import"
    )
    with pytest.raises(PluginError, match=message):
        options_of(Hidden)
    with pytest.raises(PluginError, match=message):
        make(Hidden, "plugin 'hidden'", {})


@dataclass(frozen=True)
class Foreign:
    value: memoryview = field(default_factory=lambda: memoryview(b""))


def test_a_type_that_cannot_be_checked() -> None:
    with pytest.raises(PluginError, match=r"^an option of type memoryview cannot be checked: PydanticSchemaGeneration"):
        make(Foreign, "plugin 'foreign'", {"value": "x"})


# --------------------------------------------------------------------------------------------------- written out


@pytest.mark.parametrize(
    "options",
    [
        "",
        "rate=0.5, count=9, share=29%, flag=true, mode=cosine, text='4', length=3ep, maybe=1000, rates=0.1",
        "inner=sgdr(cycles=2), several=[constant, join(schedules=[a(b='c d')])], table={50%: 2, 0.5ep: 1}, rates=[]",
    ],
)
def test_resolved_is_plain_and_makes_the_same(options: str) -> None:
    instance = made(**parse_spec(f"every({options})").options)
    values = resolved(instance)
    assert list(values) == [name for name, *_ in EXPECTED]
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert make(Everything, "plugin 'every'", values) == instance
    assert make(Everything, "plugin 'every'", parse_spec(str(Spec("every", values))).options) == instance


def test_resolved_values() -> None:
    values = resolved(made(several=["constant", "sgdr(cycles=2)"], share="29%"))
    assert values["several"] == ["constant", "sgdr(cycles=2)"]
    assert values["table"] == {"25%": 0.5, "1000": 0.1}
    assert values["rates"] == [0.0001, 0.0002]
    assert (values["length"], values["maybe"], values["share"]) == ("25%", None, 0.29)
