"""The options of a plugin: types, defaults, checks and help, all from the fields of its dataclass."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from typing_extensions import Doc as Doc  # noqa: PLC0414  # it is public as `lrtrain.Doc`

from lrtrain.errors import LrtrainError, OptionError, PluginError, cause, nearest
from lrtrain.plugins.duration import Duration
from lrtrain.plugins.isolation import plugin_called
from lrtrain.plugins.spec import Spec, format_value, plain, short
from lrtrain.signals import Terminated

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, TypeAdapter
    from pydantic_core import CoreSchema, ErrorDetails


class _PercentText:
    """Lets an option that is a share of something also be written as a percentage."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(_percent, handler(source))


@dataclass(frozen=True)
class Begins:
    """Says of an option that its text begins with a ``word`` and an underscore, and goes on."""

    word: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.str_schema(pattern=f"^{self.word}_.", strict=True)


def _percent(value: object) -> object:
    if isinstance(value, str) and value.endswith("%"):
        return float(Duration(value).amount / 100)
    return value


_OF_LEARNING_RATE = Doc("learning rate")
LearningRate = Annotated[float, Ge(0), _OF_LEARNING_RATE]
"""A learning rate: finite and not negative. A default of this type is multiplied by what suits the workload."""
PositiveLearningRate = Annotated[float, Gt(0), _OF_LEARNING_RATE]
"""A learning rate over 0."""
PositiveFloat = Annotated[float, Gt(0)]
"""A finite number over 0."""
PositiveInt = Annotated[int, Ge(1)]
"""A whole number, at least 1."""
Share = Annotated[float, Ge(0), Le(1), _PercentText()]
"""A share of something, 0 to 1, that may also be written as 0% to 100%."""


def exact(share: float) -> Fraction:
    """Returns the decimal number that was written: ``exact(0.29) * 100 == 29``, while ``0.29 * 100`` is less."""
    return Fraction(Decimal(repr(share)))


@dataclass(frozen=True)
class Option:
    """One option of a plugin: its name, its type in words, default as text (None: must be given), meaning."""

    name: str
    type: str
    default: str | None
    doc: str


def options_of(plugin: type) -> tuple[Option, ...]:
    """Returns the options of a plugin class, in the order of its fields; PluginError when a type cannot be read."""
    hints = _hints(plugin)
    return tuple(
        Option(field.name, type_text(hints[field.name]), _default(field), _doc(hints[field.name]))
        for field in _fields(plugin)
    )


def make(plugin: type, title: str, given: Mapping[str, Any]) -> Any:
    """Returns an instance of a plugin class with the options ``given``; the rest keep their defaults.

    Errors begin with the ``title``, such as ``plugin 'sgdr'``.

    Raises:
      OptionError: an option is unknown, missing, of the wrong type or out of range; the sentence names it.
      PluginError: the type that the plugin gives an option cannot be checked.
    """
    known = [field.name for field in _fields(plugin)]
    for option in given:
        if option not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise OptionError(f"{title} has no option '{option}'{nearest(option, known)}; {has}")
    hints = _hints(plugin)
    values = {option: checked(title, option, hints[option], value) for option, value in given.items()}
    for field in _fields(plugin):
        if field.name not in given and _is_required(field):
            meaning = f" ({doc})" if (doc := _doc(hints[field.name])) else ""
            raise OptionError(f"{title} needs its option '{field.name}'{meaning}: give {field.name}=...")
    return _instance(plugin, title, values)


def _instance(plugin: type, title: str, values: Mapping[str, Any]) -> Any:
    try:
        with plugin_called():
            return plugin(**values)
    except (LrtrainError, Terminated):
        raise
    except ValueError as error:
        raise OptionError(f"{title}: {error}") from error
    except (Exception, SystemExit) as error:
        raise OptionError(f"{title} fails with these options: {cause(error)}") from error


def resolved(instance: Any) -> dict[str, Any]:
    """Returns all options of a plugin instance as plain values that JSON holds and `make` accepts."""
    hints = _hints(type(instance))
    return {
        field.name: _adapter(hints[field.name]).dump_python((getattr(instance, field.name),), mode="json")[0]
        for field in _fields(type(instance))
    }


def options_of_type(instance: Any, hint: Any) -> dict[str, Any]:
    """Returns the options of a plugin instance that have exactly this type, with their values."""
    hints = _hints(type(instance))
    names = [field.name for field in _fields(type(instance)) if hints[field.name] == hint]
    return {name: getattr(instance, name) for name in names}


def scaled_defaults(plugin: type, factor: float) -> dict[str, Any]:
    """Returns the options whose defaults are learning rates, each times the factor; none if that is 1."""
    if factor == 1:
        return {}
    hints = _hints(plugin)
    fields = [field for field in _fields(plugin) if not _is_required(field) and _has_learning_rate(hints[field.name])]
    return {field.name: _times(_default_value(field), factor) for field in fields}


def scaled(instance: Any, factor: float) -> dict[str, Any]:
    """Returns the options of a plugin instance that are learning rates, each times the factor."""
    hints = _hints(type(instance))
    names = [field.name for field in _fields(type(instance)) if _has_learning_rate(hints[field.name])]
    return {name: _times(getattr(instance, name), factor) for name in names}


def _has_learning_rate(hint: Any) -> bool:
    return any(part == _OF_LEARNING_RATE or _has_learning_rate(part) for part in typing.get_args(hint))


def _times(value: Any, factor: float) -> Any:
    if isinstance(value, list | tuple):
        return [_times(each, factor) for each in value]
    # To 12 digits: 0.003 and not 0.0030000000000000005.
    return value if value is None else float(f"{value * factor:.12g}")


def type_text(hint: Any) -> str:
    """Returns a type in a user's words: ``number >= 0``, ``duration``, ``linear or cosine``, ``list of spec``."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        bounds = " and ".join(filter(None, map(_bound_text, arguments[1:])))
        return f"{type_text(arguments[0])} {bounds}".rstrip()
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(type_text, arguments))
    if origin in (list, tuple):
        return f"list of {type_text(arguments[0])}"
    if origin in (dict, Mapping):
        return f"table of {type_text(arguments[0])}: {type_text(arguments[1])}"
    names = {
        float: "number",
        int: "whole number",
        bool: "true or false",
        str: "text",
        Duration: "duration",
        Spec: "spec",
    }
    return names.get(hint, "none" if hint is type(None) else getattr(hint, "__name__", str(hint)))


def _hints(plugin: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(plugin, include_extras=True)
    except NameError as error:
        raise PluginError(
            f"the options of {plugin.__name__} have a type that is not defined at run time: {error}; "
            "import it at the top of the module, not below `if TYPE_CHECKING`"
        ) from error


def _fields(plugin: type) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(plugin) if field.init and field.metadata.get("option", True)]


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field: dataclasses.Field[Any]) -> str | None:
    if _is_required(field):
        return None
    return format_value(_default_value(field))


def _default_value(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


def _doc(hint: Any) -> str:
    docs = [extra.documentation for extra in typing.get_args(hint)[1:] if isinstance(extra, Doc)]
    return docs[-1] if typing.get_origin(hint) is Annotated and docs else ""


def _bound_text(extra: object) -> str:
    if isinstance(extra, Begins):
        return f"such as {extra.word}_f1"
    for bound, sign, limit in ((Ge, ">=", "ge"), (Gt, ">", "gt"), (Le, "<=", "le"), (Lt, "<", "lt")):
        if isinstance(extra, bound):
            return f"{sign} {getattr(extra, limit)}"
    return ""


def _adapter(hint: Any) -> TypeAdapter[Any]:
    """Returns the validator of a list with one such value: pydantic lets a bare `Duration` have no configuration."""
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter

    try:
        return TypeAdapter(tuple[hint], config=ConfigDict(allow_inf_nan=False, strict=True))
    except PydanticUserError as error:
        raise PluginError(f"an option of type {type_text(hint)} cannot be checked: {cause(error)}") from error


def checked(title: str, option: str, hint: Any, value: object) -> Any:
    """Returns one value, checked as JSON: a list may become a tuple, while ``"4"`` is no number.

    Raises OptionError, which begins with the ``title``, when it is not of the type.
    """
    from pydantic import ValidationError

    try:
        return _adapter(hint).validate_json(json.dumps([plain(value)]))[0]
    except ValidationError as error:
        complaint = _complaint(error.errors(include_url=False), hint, value)
        given = short(format_value(value), 200)
        raise OptionError(f"{title}: {option}={given} is refused: {complaint}") from None


def _complaint(errors: Sequence[ErrorDetails], hint: Any, value: object) -> str:
    """Returns what is wrong; for a type of several forms, by the form that fits best."""
    inner, details = max(((_inner(each["loc"][1:], value), each) for each in errors), key=lambda pair: len(pair[0]))
    if details["type"] == "value_error":
        return str(details["ctx"]["error"])
    if details["type"] == "finite_number":
        return f"expected {type_text(hint)}, and finite"
    place = f", and {inner[-1]} is {short(format_value(details['input']))}" if inner else ""
    return f"expected {type_text(hint)}{place}"


def _inner(location: Sequence[int | str], value: object) -> list[str]:
    """Returns the path of a value in a list or table; pydantic's location also names the forms of a union."""
    way: list[str] = []
    for part in location:
        if isinstance(part, int) and isinstance(value, list) and part < len(value):
            way, value = [*way, f"item {part + 1}"], value[part]
        elif isinstance(part, str) and isinstance(value, Mapping) and part in value:
            way, value = [*way, part], value[part]
    return way
