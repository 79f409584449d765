"""The grammar of specs: ``sgdr(cycles=4, peak_value=1e-3)`` as text, and the same thing as a TOML table.

A spec is a plugin's name with optional options. ``-`` and ``_`` are equal in names. A value is a number, ``true``,
``false`` or ``none``, a word (``cosine``, ``25%``), a quoted text, a list ``[a, b]``, a table ``{25%: 0.5}``, or
another spec with its parentheses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from lrtrain.errors import SpecError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | Spec | None"

MAX_LENGTH = 10_000
MAX_DEPTH = 16

_TOKEN = re.compile(r"""\s*(?:(?P<quoted>"[^"]*"|'[^']*')|(?P<mark>[()\[\]{},=:])|(?P<word>[^\s()\[\]{},=:'"]+))""")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_.][A-Za-z0-9]+)*", re.ASCII)
_OPTION = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_INT = re.compile(r"[+-]?\d+", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WORDS: dict[str, Value] = {"true": True, "false": False, "none": None}


def normal_name(name: str) -> str:
    """Returns the one form of a plugin's name under which it is looked up: lower case, ``-`` for ``_`` and ``.``."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class Spec:
    """A plugin by name, with the options that the user gave (the others keep their defaults)."""

    name: str
    options: Mapping[str, Value] = field(default_factory=dict)

    @classmethod
    def of(cls, source: Spec | str | Mapping[str, Any]) -> Spec:
        """Returns a spec from its text, from a table ``{"plugin": "sgdr", "cycles": 4}``, or unchanged.

        Raises:
          SpecError: the text or table does not follow the grammar.

        Example:
          >>> Spec.of("sgdr(cycles=4)") == Spec.of({"plugin": "sgdr", "cycles": 4})
          True
        """
        if isinstance(source, Spec):
            return source
        if isinstance(source, str):
            return parse_spec(source)
        if isinstance(source, Mapping):
            return _from_table(source)
        raise SpecError(f"{source!r} is not a spec: give text such as 'sgdr(cycles=4)' or a table with the key plugin")

    def table(self) -> dict[str, Any]:
        """Returns the spec as a table, the form that TOML and JSON hold."""
        return {"plugin": self.name, **{name: _plain(value) for name, value in self.options.items()}}

    def __str__(self) -> str:
        inner = ", ".join(f"{name}={format_value(value)}" for name, value in self.options.items())
        return f"{self.name}({inner})" if inner else self.name

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Lets an option of a plugin be a spec, as `join` needs."""
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(_validate, serialization=core_schema.to_string_ser_schema())


def parse_spec(text: str) -> Spec:
    """Returns the spec that ``text`` stands for; raises SpecError with the place and what was expected there."""
    parser = _Parser(text)
    spec = parser.spec(depth=0)
    parser.end()
    return spec


def parse_value(text: str) -> Value:
    """Returns the value that ``text`` stands for, as it would in a spec; for ``--set NAME=VALUE``."""
    parser = _Parser(text)
    value = parser.value(depth=0)
    parser.end()
    return value


def format_value(value: object) -> str:
    """Returns text that `parse_value` reads back as ``value``."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(format_value, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_format_key(str(key))}: {format_value(each)}" for key, each in value.items()) + "}"
    return _format_text(value) if isinstance(value, str) else str(value)


def _format_text(text: str) -> str:
    return text if _format_key(text) == text and _scalar(text) == text else _quoted(text)


def _format_key(text: str) -> str:
    token = _TOKEN.fullmatch(text)
    return text if token is not None and token["word"] == text else _quoted(text)


def _quoted(text: str) -> str:
    quote = "'" if '"' in text else '"'
    return f"{quote}{text}{quote}"


def _from_table(table: Mapping[str, Any]) -> Spec:
    name = table.get("plugin")
    if not isinstance(name, str):
        raise SpecError(f"{_short(table)} names no plugin: it needs the key plugin, as in {{plugin = 'sgdr'}}")
    _check_name(name)
    return Spec(name, {_option_name(key): value for key, value in table.items() if key != "plugin"})


def _option_name(key: object) -> str:
    if not isinstance(key, str) or not _OPTION.fullmatch(key):
        raise SpecError(f"{key!r} is not the name of an option: letters, digits and _ are")
    return key.replace("-", "_")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise SpecError(
            f"'{_short(name)}' is not the name of a plugin: letters, digits, - and _ are, as in warmup-cosine-decay"
        )


def _plain(value: object) -> Any:
    if isinstance(value, Spec):
        return value.table()
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return value


def _short(value: object, length: int = 60) -> str:
    text = value if isinstance(value, str) else json.dumps(_plain(value), default=str)
    return text if len(text) <= length else text[: length - 3] + "..."


def _validate(value: object) -> Spec:
    try:
        return Spec.of(value)  # type: ignore[arg-type]  # anything else is refused there, in words
    except SpecError as error:
        raise ValueError(str(error)) from None


class _Parser:
    """Reads one spec or value by recursive descent; every method consumes what it returns."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise SpecError(f"a spec of {len(text)} characters is too long: at most {MAX_LENGTH} are read")
        self.text = text
        self.tokens = _tokens(text)
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def expect(self, mark: str, where: str) -> None:
        if self.peek() != mark:
            raise self.error(f"'{mark}' {where}")
        self.at += 1

    def end(self) -> None:
        if self.peek():
            raise self.error("the end")

    def error(self, expected: str) -> SpecError:
        found = f"'{_short(self.peek())}'" if self.peek() else "the end"
        place = self.tokens[self.at][1] if self.at < len(self.tokens) else len(self.text)
        return SpecError(
            f"cannot read '{_short(self.text)}': expected {expected} at character {place + 1}, found {found}"
        )

    def spec(self, depth: int) -> Spec:
        name = self.peek()
        if not name or name in "()[]{},=:" or name[0] in "'\"":
            raise self.error("the name of a plugin")
        _check_name(self.take())
        if self.peek() != "(":
            return Spec(name)
        return Spec(name, self.pairs("(", ")", "=", depth))

    def value(self, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise SpecError(f"'{_short(self.text)}' is nested more than {MAX_DEPTH} levels deep")
        token = self.peek()
        if token == "[":
            return self.items(depth)
        if token == "{":
            return self.pairs("{", "}", ":", depth)
        if not token or token in "()]},=:":
            raise self.error("a value")
        if token[0] in "'\"":
            return self.take()[1:-1]
        following = self.tokens[self.at + 1][0] if self.at + 1 < len(self.tokens) else ""
        return self.spec(depth) if following == "(" else _scalar(self.take())

    def items(self, depth: int) -> list[Value]:
        self.expect("[", "before a list")
        values: list[Value] = []
        while self.peek() != "]":
            values.append(self.value(depth + 1))
            if self.peek() != "]":
                self.expect(",", "or ']' in a list")
        self.take()
        return values

    def pairs(self, opening: str, closing: str, between: str, depth: int) -> dict[str, Value]:
        self.expect(opening, "first")
        pairs: dict[str, Value] = {}
        while self.peek() != closing:
            key = self.key(between)
            if key in pairs:
                raise SpecError(f"cannot read '{_short(self.text)}': {key} is given twice")
            self.expect(between, f"after {key}")
            pairs[key] = self.value(depth + 1)
            if self.peek() != closing:
                self.expect(",", f"or '{closing}' after {key}={format_value(pairs[key])}")
        self.take()
        return pairs

    def key(self, between: str) -> str:
        token = self.peek()
        if not token or token in "()[]{},=:":
            raise self.error("an option as NAME=VALUE" if between == "=" else "a key")
        self.take()
        return _option_name(token) if between == "=" else token.strip("'\"")


def _tokens(text: str) -> list[tuple[str, int]]:
    tokens: list[tuple[str, int]] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise SpecError(f"cannot read '{_short(text)}': the quote at character {at + 1} is never closed")
        tokens.append((match[match.lastgroup or 0], match.start(match.lastgroup or 0)))
        at = match.end()
    return tokens


def _scalar(word: str) -> Value:
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    if _INT.fullmatch(word):
        return int(word)
    if _FLOAT.fullmatch(word):
        return float(word)
    return word
