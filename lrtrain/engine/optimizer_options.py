"""The options of an optimizer: found in the signature of the function that makes it, and checked by their types."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from lrtrain.errors import OptionError, nearest
from lrtrain.plugins.options import checked

_REQUIRED = inspect.Parameter.empty
_MASKS = ("mask", "weight_decay_mask")
_MASK = Literal["matrices"] | None
_DTYPES = Literal["bfloat16", "float16", "float32"]


@dataclass(frozen=True)
class Option:
    """One option.

    Args:
      name: its name in a spec.
      parameter: the name of the function's parameter, which is another for a mask.
      hint: its type.
      default: its default, as a spec gives it; `inspect.Parameter.empty` if it has to be given.
    """

    name: str
    parameter: str
    hint: Any
    default: Any

    @property
    def is_mask(self) -> bool:
        """Whether it says which parameters weight decay changes."""
        return bool(self.hint == _MASK)

    def is_said(self, values: Mapping[str, Any]) -> bool:
        """Returns whether the canonical text says it: where it differs from its default; a mask always."""
        return self.name in values and (self.is_mask or values[self.name] != self.default)

    def argument(self, value: Any) -> Any:
        """Returns what the function takes for a value of a spec."""
        if self.is_mask:
            return _matrices if value else self.default
        return value


def read(title: str, options: Mapping[str, Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the given options, each checked; raises OptionError, which calls the optimizer ``title``."""
    values = {}
    for name, value in given.items():
        # Optax has two names for a mask.
        option = options.get("mask" if name in _MASKS and name not in options else name)
        if option is None:
            has = f"it has {', '.join(options)}" if options else "it has none"
            raise OptionError(f"{title} has no option '{name}'{nearest(name, options)}; {has}")
        values[option.name] = checked(title, name, option.hint, value)
    for name, option in options.items():
        if option.default is _REQUIRED and name not in values:
            raise OptionError(f"{title} needs its option '{name}': give {name}=...")
    return values


def options_of_optax(function: Callable[..., Any]) -> dict[str, Option]:
    """Returns the options of an optimizer of optax by name: those that a spec can hold."""
    _, *parameters = _signature(function).parameters.values()
    found = [option for each in parameters if (option := _option(each)) is not None]
    return {option.name: option for option in found}


def options_of(function: Callable[..., Any]) -> dict[str, Option]:
    """Returns the options of a user's function by name; those without a type take any value."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = [each for each in _signature(function).parameters.values() if each.kind in named]
    return {each.name: Option(each.name, each.name, _own_hint(each), each.default) for each in parameters}


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    # A name that is imported for type checkers only.
    except NameError:
        return inspect.signature(function)


def _own_hint(parameter: inspect.Parameter) -> Any:
    annotation, default = parameter.annotation, parameter.default
    if annotation is not _REQUIRED and not isinstance(annotation, str):
        return annotation
    return type(default) if isinstance(default, (bool, int, float, str)) else Any


def _option(parameter: inspect.Parameter) -> Option | None:
    """Returns an option of optax; None for a function, a tree, an array or another transformation."""
    name, default = parameter.name, parameter.default
    if name in _MASKS:
        return Option("mask", name, _MASK, default)
    if "dtype" in name:
        import numpy as np

        return Option(name, name, _DTYPES | None, None if default is None else np.dtype(default).name)
    hint = _hint(parameter)
    return None if hint is None else Option(name, name, hint, default)


def _hint(parameter: inspect.Parameter) -> Any:
    """Returns the type of an option by its default, else by its annotation; None for what no spec can hold."""
    default, kinds = parameter.default, get_args(parameter.annotation) or (parameter.annotation,)
    if get_origin(parameter.annotation) is Literal:
        return parameter.annotation
    if isinstance(default, (bool, int, float, str)):
        return type(default) | None if type(None) in kinds else type(default)
    if isinstance(default, tuple) and all(isinstance(each, float) for each in default):
        return tuple[float, ...] | str if str in kinds else tuple[float, ...]
    kind = next((each for each in (float, int) if each in kinds), None)
    # A key of random numbers has the type of a number, a tree is a mapping as well.
    if kind is None or parameter.name == "key" or any(get_origin(each) is Mapping for each in kinds):
        return None
    return kind | None if default is None else kind if default is _REQUIRED else None


def _matrices(params: Any) -> Any:
    """Returns which parameters are decayed: those of at least two dimensions, and so neither biases nor scales."""
    import jax

    return jax.tree.map(lambda leaf: leaf.ndim >= 2, params)
