"""The options of lrtrain as fields of a dataclass: type, default, check and help of each are in one place."""

from __future__ import annotations

import dataclasses
import functools
import sys
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrtrain.errors import UsageError, nearest

_LARGEST = sys.float_info.max


@dataclass(frozen=True, kw_only=True)
class OptionField:
    """One option.

    Args:
      name: the name of its field.
      kind: its type, without the None of an option that need not be given.
      default: its default; None where it need not be given.
      help: its meaning, in sentences.
      metavar: the name of the value in the help of a command.
      least: the lowest number that is allowed.
      most: the highest number that is allowed.
      choices: the texts that are allowed; empty if all are.
      known: some of the texts that are allowed, which a shell completes.
      changes_results: whether it changes the result of a run. If not, a resumed run may have another value, and runs
        that differ only in it have equal conditions.
      in_comparisons: whether `lrtrain compare` has it.
    """

    name: str
    kind: type
    default: Any
    help: str
    metavar: str | None = None
    least: int | None = None
    most: int | None = None
    choices: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    changes_results: bool = True
    in_comparisons: bool = True

    @property
    def flag(self) -> str:
        """The option on a command line; for one that is true by default, the option that makes it false."""
        name = self.name.replace("_", "-")
        return f"--no-{name}" if self.default is True else f"--{name}"

    def words(self, value: Any) -> tuple[str, ...]:
        """Returns the words on a command line that give this value; none if it is the default."""
        if value == self.default:
            return ()
        return (self.flag,) if self.kind is bool else (self.flag, str(value))

    def check(self, value: Any) -> None:
        """Raises UsageError, with the name as its key, for a value that the option cannot have."""
        if value is None and self.default is None:
            return
        if self.choices:
            check_choice(self.name, value, self.choices)
        elif self.kind in (int, float):
            check_number(self.name, value, self.kind, self.least, self.most)
        elif not isinstance(value, self.kind):
            expected = {bool: "true or false", str: "a text", Path: "a path"}[self.kind]
            raise UsageError(f"{self.name}={value} is refused: expected {expected}", key=self.name)


def option(default: Any, help: str, **meaning: Any) -> Any:  # noqa: A002  # click's word
    """Returns a field of a dataclass that is an option; the arguments are those of `OptionField`."""
    return dataclasses.field(default=default, metadata={"option": {"help": help, **meaning}})


@functools.cache
def option_fields(config: type) -> tuple[OptionField, ...]:
    """Returns the options among the fields of a dataclass, in their order."""
    kinds = typing.get_type_hints(config)
    return tuple(
        OptionField(
            name=field.name, kind=_without_none(kinds[field.name]), default=field.default, **field.metadata["option"]
        )
        for field in dataclasses.fields(config)
        if "option" in field.metadata
    )


def _without_none(kind: Any) -> Any:
    (rest,) = {*(typing.get_args(kind) or (kind,))} - {type(None)}
    return rest


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raises UsageError unless the value of an option is one of some texts."""
    if value not in choices:
        raise UsageError(
            f"{name}={value} is refused{nearest(value, choices)}: expected one of {', '.join(choices)}", key=name
        )


def check_number(
    name: str, value: object, kind: type = int, least: float | None = None, most: float | None = None
) -> None:
    """Raises UsageError unless the value of an option is a finite number (whole with ``int``) within its bounds."""
    taken = (int,) if kind is int else (int, float)
    # Not `math.isfinite`, which takes no whole number that is larger than any float.
    lowest, highest = -_LARGEST if least is None else least, _LARGEST if most is None else most
    if isinstance(value, bool) or not isinstance(value, taken) or not lowest <= value <= highest:
        raise UsageError(f"{name}={value} is refused: expected {_expected(kind, least, most)}", key=name)


def _expected(kind: type, least: float | None, most: float | None) -> str:
    number = "a whole number" if kind is int else "a number"
    if least is not None and most is not None:
        return f"{number} from {least} to {most}"
    return number + (f", at least {least}" if least is not None else f", at most {most}" if most is not None else "")
