"""Durations: a number of steps, a share of the run, or epochs; exact arithmetic, rounded down once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from lrtrain.errors import SpecError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

_PATTERN = re.compile(r"(\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})(%|ep)?", re.ASCII)
_CURE = "a duration is a number of steps (1000), a share of the run (25%) or epochs (3ep)"


@dataclass(frozen=True)
class Duration:
    """A length of time in a run, or a moment counted from its start.

    Args:
      text: optimizer updates (``1000`` or ``"1000"``), a share of the run (``"25%"``) or epochs (``"3ep"``).

    Raises:
      SpecError: the text is none of the three, or a share is over 100%.

    Example:
      >>> Duration("25%").steps(total_steps=2350, steps_per_epoch=235)
      587
      >>> Duration("0.5ep").steps(total_steps=2350, steps_per_epoch=235)
      117
    """

    text: str | int
    amount: Fraction = field(init=False, repr=False)
    unit: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        text = str(self.text).strip()
        match = _PATTERN.fullmatch(text)
        if match is None:
            shown, cure = (text, _CURE) if len(text) <= 12 else (text[:40], f"{_CURE}, of at most 12 digits")
            raise SpecError(f"{shown!r} is not a duration: {cure}")
        amount, unit = Fraction(match[1]), match[2] or "steps"
        if unit == "steps" and amount.denominator != 1:
            raise SpecError(f"'{text}' is not a whole number of steps: {_CURE}")
        if unit == "%" and amount > 100:
            raise SpecError(f"'{text}' is more than the whole run: a share is at most 100%")
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "amount", amount)
        object.__setattr__(self, "unit", unit)

    def __str__(self) -> str:
        return str(self.text)

    def steps(self, total_steps: int, steps_per_epoch: int) -> int:
        """Returns this duration in optimizer updates, rounded down from the exact value."""
        units = {"steps": Fraction(1), "%": Fraction(total_steps, 100), "ep": Fraction(steps_per_epoch)}
        return int(self.amount * units[self.unit])

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Lets an option, or the keys of a table, be of this type: numbers and text are parsed."""
        from pydantic_core import core_schema

        # As a run's files hold it: a number of steps, or text.
        plain = core_schema.plain_serializer_function_ser_schema(
            lambda each: int(each.amount) if each.unit == "steps" else str(each)
        )
        return core_schema.no_info_plain_validator_function(_validate, serialization=plain)


def _validate(value: object) -> Duration:
    if isinstance(value, Duration):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not a duration: {_CURE}")
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value!r} is not a whole number of steps: {_CURE}")
    return Duration(value if isinstance(value, str) else int(value))
