"""Durations: what is read, what is refused, and exact steps."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from lrtrain import Duration, UsageError
from lrtrain.errors import SpecError

# A share of a loaded machine may be slow.
unhurried = settings(deadline=None)
FORMS = "a duration is a number of steps (1000), a share of the run (25%) or epochs (3ep)"


@pytest.mark.parametrize(
    ("text", "total", "per_epoch", "expected"),
    [
        ("1000", 2350, 235, 1000),
        (1000, 2350, 235, 1000),
        ("0", 2350, 235, 0),
        ("7.0", 2350, 235, 7),
        ("7.", 2350, 235, 7),
        (" 7 ", 2350, 235, 7),
        ("25%", 2350, 235, 587),
        ("29%", 100, 10, 29),
        ("12.5%", 2350, 235, 293),
        (".5%", 1000, 10, 5),
        ("0%", 2350, 235, 0),
        ("100%", 2350, 235, 2350),
        ("100.0%", 2350, 235, 2350),
        ("3ep", 2350, 235, 705),
        ("0.5ep", 2350, 235, 117),
        # One ninth of an epoch, with twelve digits, is a hair under 1 step; it is never rounded up.
        ("0.111111111111ep", 90, 9, 0),
    ],
)
def test_steps(text: str | int, total: int, per_epoch: int, expected: int) -> None:
    assert Duration(text).steps(total, per_epoch) == expected


@unhurried
@given(hundredths=st.integers(0, 10_000), total=st.integers(1, 2**31 - 1))
def test_a_share_is_the_floor_of_the_exact_value(hundredths: int, total: int) -> None:
    share = f"{hundredths // 100}.{hundredths % 100:02}%"
    assert Duration(share).steps(total, 1) == hundredths * total // 10_000


def test_all_of_a_run_and_its_hundredths() -> None:
    # In floating point 29 / 100 is a little less than 0.29.
    assert [Duration("100%").steps(total, 1) for total in range(1, 1000)] == list(range(1, 1000))
    assert [Duration(f"{share}%").steps(100, 1) for share in range(101)] == list(range(101))


@unhurried
@given(thousandths=st.integers(0, 10**6), per_epoch=st.integers(1, 2**31 - 1))
def test_epochs_are_the_floor_of_the_exact_value(thousandths: int, per_epoch: int) -> None:
    epochs = f"{thousandths // 1000}.{thousandths % 1000:03}ep"
    assert Duration(epochs).steps(1, per_epoch) == thousandths * per_epoch // 1000


@unhurried
@given(first=st.integers(0, 10_000), second=st.integers(0, 10_000), total=st.integers(1, 2**31 - 1))
def test_shares_keep_their_order(first: int, second: int, total: int) -> None:
    steps = [Duration(f"{Fraction(each, 100).__float__():.2f}%").steps(total, 1) for each in sorted((first, second))]
    assert steps[0] <= steps[1] <= total


@pytest.mark.parametrize("text", ["101%", "100.000000000001%", "1000%"])
def test_a_share_over_the_whole_run_is_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        Duration(text)
    assert str(caught.value) == f"'{text}' is more than the whole run: a share is at most 100%"


@pytest.mark.parametrize("text", ["1.5", 1.5, "0.1"])
def test_a_part_of_a_step_is_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        Duration(text)
    assert str(caught.value) == f"'{text}' is not a whole number of steps: {FORMS}"


NONSENSE = """
% ep . -1 -5% +5 1e3 0x10 1_000 25%% 3EP 3epochs 3e ep3 %25 1..5 1.2.3 1,000 1/2 nan inf five True False None 3steps
"""
# An Arabic digit, a full-width digit, a full-width percent sign.
UNICODE = ["٣", "３", "25％"]  # noqa: RUF001


@pytest.mark.parametrize("text", ["", " ", "25 %", "3 ep", "1\n2", -1, True, None, *NONSENSE.split(), *UNICODE])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        Duration(text)
    assert str(caught.value) == f"{str(text).strip()!r} is not a duration: {FORMS}"
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize("text", [10**13, "9" * 5000, "1." + "1" * 13, "9" * 13 + "%"])
def test_too_many_digits_are_refused_in_a_short_sentence(text: str | int) -> None:
    with pytest.raises(SpecError, match=r"is not a duration: .*, of at most 12 digits$") as caught:
        Duration(text)
    assert len(str(caught.value)) < 200


def test_equality_and_hash() -> None:
    assert Duration("1000") == Duration(1000)
    assert hash(Duration("1000")) == hash(Duration(1000))
    assert Duration(" 25% ") == Duration("25%")
    assert len({Duration("25%"), Duration("25"), Duration("25ep"), Duration("25%")}) == 3
    assert {Duration("50%"): 0.5}[Duration("50%")] == 0.5


def test_text_is_kept() -> None:
    assert [str(Duration(each)) for each in ("25.0%", "0.5ep", 1000)] == ["25.0%", "0.5ep", "1000"]


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Duration("25%").text = "30%"  # type: ignore[misc]


def test_as_an_option() -> None:
    adapter = TypeAdapter(tuple[Duration, ...])
    values = adapter.validate_json('["25%", 1000, 7.0, "3ep"]')
    assert values == (Duration("25%"), Duration(1000), Duration(7), Duration("3ep"))
    assert adapter.validate_python(values) == values
    assert adapter.dump_json(values) == b'["25%",1000,7,"3ep"]'


def test_as_a_key_of_a_table() -> None:
    adapter = TypeAdapter(dict[Duration, float])
    table = adapter.validate_json('{"25%": 0.5, "1000": 0.1}')
    assert table == {Duration("25%"): 0.5, Duration(1000): 0.1}
    assert adapter.dump_json(table) == b'{"25%":0.5,"1000":0.1}'


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, f"True is not a duration: {FORMS}"),
        (None, f"None is not a duration: {FORMS}"),
        ([1], f"[1] is not a duration: {FORMS}"),
        (1.5, f"1.5 is not a whole number of steps: {FORMS}"),
        (float("nan"), f"nan is not a whole number of steps: {FORMS}"),
        (float("inf"), f"inf is not a whole number of steps: {FORMS}"),
        ("150%", "'150%' is more than the whole run: a share is at most 100%"),
    ],
)
def test_refused_as_an_option(value: object, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(tuple[Duration]).validate_python((value,))
    assert [str(each["ctx"]["error"]) for each in caught.value.errors()] == [message]
