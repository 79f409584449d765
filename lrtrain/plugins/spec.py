"""The grammar of specs: ``sgdr(cycles=4, peak_value=1e-3)`` as text, and the same as a TOML table.

A spec is a plugin's name with optional options. ``-`` and ``_`` are equal in names. In place of a name there may be a
class in a file, ``./file.py:Class``, with quotes around all of it where the path has a space or a mark of this
grammar: ``"./my files/file.py:Class"(cycles=4)``. Of an optimizer or a model, it may be in a file or in a module,
``package.module:function``. A value is a number, ``true``, ``false`` or ``none``, a word
(``cosine``, ``25%``), a quoted text (its own quote doubled inside it), a list ``[a, b]``, a table ``{25%: 0.5}``, or
another spec with its parentheses.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from lrtrain.errors import SpecError
from lrtrain.plugins.duration import Duration

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | Spec | None"

MAX_LENGTH = 10_000
MAX_DEPTH = 16
# No float is larger than 2**1024, and Python reads no text of thousands of digits.
_MAX_BITS = 1024

_TOKEN = re.compile(
    r"""\s*+(?:(?P<quoted>"(?:[^"]|"")*+"|'(?:[^']|'')*+')|(?P<mark>[()\[\]{},=:])|(?P<word>[^\s()\[\]{},=:'"]+))"""
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_.][A-Za-z0-9]+)*", re.ASCII)
_FILE = re.compile(r"(?P<path>[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f/]\.py):(?P<cls>[A-Za-z_][A-Za-z0-9_]*)", re.ASCII)
_IN_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+")
_OPTION = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_INT = re.compile(r"[+-]?\d+", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WORDS: dict[str, Value] = {"true": True, "false": False, "none": None}


def normal_name(name: str) -> str:
    """Returns the one form of a plugin's name under which it is looked up: lower case, ``-`` for ``_`` and ``.``.

    A class in a file has the name of the class:

    >>> normal_name("Warmup_Cosine"), normal_name("./file.py:WarmupCosine")
    ('warmup-cosine', 'warmup-cosine')
    """
    in_file = file_and_class(name)
    if in_file is not None:
        name = _WORD_BEGINS.sub("-", in_file[1]).strip("-") or "plugin"
    return re.sub(r"[-_.]+", "-", name).lower()


def file_and_class(name: str) -> tuple[str, str] | None:
    """Returns path and class of ``./file.py:Class``; None for a name of any other form."""
    match = _FILE.fullmatch(name)
    return None if match is None else (match["path"], match["cls"])


def is_in_module(name: str) -> bool:
    """Returns whether a name is of the form ``package.module:function``."""
    return _IN_MODULE.fullmatch(name) is not None and file_and_class(name) is None


def format_name(name: str) -> str:
    """Returns a plugin's name as a spec has it: in quotes where it is a file with spaces or marks in its path."""
    in_file = file_and_class(name)
    return name if in_file is None or _format_key(in_file[0]) == in_file[0] else _quoted(name)


@dataclass(frozen=True)
class Spec:
    """A plugin by name, with the options that the user gave (the others keep their defaults).

    Args:
      name: the plugin's name, or ``./file.py:Class``.
      options: values by the option's name. A table with the key ``plugin`` becomes a spec, a tuple a list, a number of
        NumPy one of Python, a `Duration` its text; so equal options are equal, however they were written.

    Raises:
      SpecError: a name cannot be one, an option is given twice, or a value has a type that a spec cannot hold.
    """

    name: str
    options: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name(self.name)
        object.__setattr__(self, "options", _options(self.options))

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
        return {"plugin": self.name, **{name: plain(value) for name, value in self.options.items()}}

    def __str__(self) -> str:
        inner = ", ".join(f"{name}={format_value(value)}" for name, value in self.options.items())
        return f"{format_name(self.name)}({inner})" if inner else format_name(self.name)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Lets an option of a plugin be a spec, as `join` needs."""
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(cls.of, serialization=core_schema.to_string_ser_schema())


def parse_spec(text: str) -> Spec:
    """Returns the spec that ``text`` describes; raises SpecError with the place and what was expected there."""
    parser = _Parser(text)
    spec = parser.spec(depth=0)
    parser.end()
    return spec


def split_specs(text: str) -> list[str]:
    """Returns the texts of specs with a ``+`` between them, which stands alone; one where there is no such mark.

    >>> split_specs("constant(value=1e-3) + reduce-on-plateau(patience=2)")
    ['constant(value=1e-3)', 'reduce-on-plateau(patience=2)']
    """
    parts, depth, begin = [], 0, 0
    for found in _TOKEN.finditer(text):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(found["mark"] or "", 0)
        if found["word"] == "+" and not depth:
            parts.append(text[begin : found.start("word")].strip())
            begin = found.end()
    return [*parts, text[begin:].strip() if parts else text]


def parse_value(text: str) -> Value:
    """Returns the value that ``text`` has in a spec; for ``--set NAME=VALUE``."""
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
    if isinstance(value, Spec) and not value.options:
        # Without its parentheses it would be read back as a word.
        return f"{format_name(value.name)}()"
    if isinstance(value, float) and math.isinf(value):
        return "1e999" if value > 0 else "-1e999"
    return _format_text(value) if isinstance(value, str) else str(value)


def short(value: object, length: int = 60) -> str:
    """Returns the beginning of a text, or of a value's text, on one line; for messages."""
    text = value if isinstance(value, str) else format_value(value)
    line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text[: length + 1])
    return line if len(line) <= length else line[: length - 3] + "..."


def _format_text(text: str) -> str:
    return text if _format_key(text) == text and _scalar(text) == text else _quoted(text)


def _format_key(text: str) -> str:
    token = _TOKEN.fullmatch(text)
    return text if token is not None and token["word"] == text else _quoted(text)


def _quoted(text: str) -> str:
    quote = "'" if '"' in text else '"'
    return quote + text.replace(quote, quote * 2) + quote


def _unquoted(token: str) -> str:
    quote = token[0]
    return token[1:-1].replace(quote * 2, quote) if quote in "'\"" else token


def _from_table(table: Mapping[Any, Any]) -> Spec:
    name = table.get("plugin")
    if not isinstance(name, str):
        raise SpecError(f"{short(table)} names no plugin: it needs the key plugin, as in {{plugin = 'sgdr'}}")
    return Spec(name, {key: value for key, value in table.items() if key != "plugin"})


def _options(given: Mapping[Any, Any], depth: int = 0) -> dict[str, Value]:
    options: dict[str, Value] = {}
    for key, value in given.items():
        name = _option_name(key)
        if name in options:
            raise SpecError(f"{name} is given twice")
        options[name] = _value(value, name, depth + 1)
    return options


def _value(value: object, name: str, depth: int) -> Value:
    """Returns a value as a spec holds it; ``name`` is the option that it belongs to."""
    if depth > MAX_DEPTH:
        raise SpecError(f"{name} is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, list | tuple):
        return [_value(each, name, depth + 1) for each in value]
    if isinstance(value, Mapping):
        if isinstance(value.get("plugin"), str):
            return _from_table(value)
        return _table(value, name, depth)
    if isinstance(value, Duration):
        return _scalar(str(value))
    return _plain_value(value, name)


def _table(given: Mapping[Any, Any], name: str, depth: int) -> dict[str, Value]:
    table = {str(key): _value(each, name, depth + 1) for key, each in given.items()}
    if len(table) < len(given):
        raise SpecError(f"{name} has two keys that read the same: {short(sorted(map(str, given)))}")
    return table


def _plain_value(value: object, name: str) -> Value:
    if value is None or isinstance(value, bool | str | Spec):
        return value
    if isinstance(value, numbers.Integral):
        if int(value).bit_length() > _MAX_BITS:
            raise SpecError(f"{name} is a number of {int(value).bit_length()} bits: no option takes that much")
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise SpecError(
        f"{name} is a {type(value).__name__}: an option is a number, text, true, false, none, a list, a table or a spec"
    )


def _option_name(key: object) -> str:
    if not isinstance(key, str) or not _OPTION.fullmatch(key):
        raise SpecError(f"'{short(key)}' is not the name of an option: letters, digits and _ are")
    return key.replace("-", "_")


def _check_name(name: object) -> None:
    if isinstance(name, str) and (file_and_class(name) is not None or is_in_module(name)):
        return
    if isinstance(name, str) and (".py" in name or name[:1] in (".", "/", "~")):
        raise SpecError(
            f"'{short(name)}' names no class in a file: write ./file.py:Class, with quotes around all of that where "
            "the path has a blank or one of ()[]{},=:"
        )
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SpecError(
            f"'{short(name)}' is not the name of a plugin: letters, digits, - and _ are, as in warmup-cosine-decay"
        )


def plain(value: object) -> Any:
    """Returns the value of an option as JSON holds it: a spec as a table, a duration as text."""
    if isinstance(value, Spec):
        return value.table()
    if isinstance(value, Duration):
        return str(value)
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    return value


class _Parser:
    """Reads one spec or value by recursive descent; every method consumes what it returns."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise SpecError(f"a spec of {len(text)} characters is too long: at most {MAX_LENGTH} are read")
        self.text = text
        self.tokens = [*_tokens(text), ("", len(text))]
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at][0]

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
        token, place = self.tokens[self.at]
        found = f"'{short(token)}'" if token else "the end"
        return SpecError(
            f"cannot read '{short(self.text)}': expected {expected} at character {place + 1}, found {found}"
        )

    def spec(self, depth: int) -> Spec:
        name = self.name(depth)
        _check_name(name)
        if self.peek() != "(":
            return Spec(name)
        return Spec(name, self.pairs("(", ")", "=", depth))

    def name(self, depth: int) -> str:
        token = self.peek()
        if not token or token in "()[]{},=:" or (token[0] in "'\"" and file_and_class(_unquoted(token)) is None):
            raise self.error("the name of a plugin")
        name = _unquoted(self.take())
        # Inside a table, a colon stands after a key.
        if self.peek() == ":" and (name.endswith(".py") or depth == 0):
            self.take()
            name = f"{name}:{self.take()}"
        return name

    def value(self, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise SpecError(f"'{short(self.text)}' is nested more than {MAX_DEPTH} levels deep")
        token = self.peek()
        if token == "[":
            return self.items(depth)
        if token == "{":
            return self.pairs("{", "}", ":", depth)
        if not token or token in "()]},=:":
            raise self.error("a value")
        following = self.tokens[self.at + 1][0]
        # No value is followed by a colon, so there it is a class in a file.
        if following == "(" or (following == ":" and token.endswith(".py")):
            return self.spec(depth)
        return _unquoted(self.take()) if token[0] in "'\"" else self.scalar()

    def scalar(self) -> Value:
        try:
            return _scalar(self.peek())
        except ValueError:
            raise self.error("a number of fewer digits") from None
        finally:
            self.at += 1

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
                raise SpecError(f"cannot read '{short(self.text)}': {short(key)} is given twice")
            self.expect(between, f"after {short(key)}")
            pairs[key] = self.value(depth + 1)
            if self.peek() != closing:
                self.expect(",", f"or '{closing}' after {short(key)}{between}{short(pairs[key])}")
        self.take()
        return pairs

    def key(self, between: str) -> str:
        token = self.peek()
        if not token or token in "()[]{},=:":
            raise self.error("an option as NAME=VALUE" if between == "=" else "a key")
        self.take()
        return _option_name(token) if between == "=" else _unquoted(token)


def _tokens(text: str) -> list[tuple[str, int]]:
    tokens: list[tuple[str, int]] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            quote = len(text) - len(text[at:].lstrip()) + 1
            raise SpecError(f"cannot read '{short(text)}': the quote at character {quote} is never closed")
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
