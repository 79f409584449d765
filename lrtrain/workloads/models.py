"""From what a user gives as a model to the network: a class or function by its place, or anything made in Python."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lrtrain.errors import LrtrainError, ModelError, OptionError, SpecError, cause, nearest
from lrtrain.plugins.discovery import IN_PYTHON, MODELS, Entry, entry_in_file
from lrtrain.plugins.isolation import load_from_file, plugin_called
from lrtrain.plugins.options import checked
from lrtrain.plugins.spec import Spec, file_and_class, is_in_module, short
from lrtrain.signals import Terminated

# The arguments that Flax gives a module.
_OF_FLAX = ("parent", "name", "rngs")
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_PLAIN = (bool, int, float, str, type(None))
_EXPECTED = "expected a Flax module (flax.linen or flax.nnx), its class, or a function that returns one"


@dataclass(frozen=True)
class ChosenModel:
    """A model in the place of a workload's network; what a spec names is imported when the network is made.

    Args:
      spec: the model as a configuration holds it.
      entry: where its class or function is; None for what was made in Python.
      options: the options that the user gave.
      made: what was made in Python: a class, an instance or a function.
    """

    spec: str
    entry: Entry | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    made: Any = None

    @property
    def title(self) -> str:
        """The model as errors name it, such as ``model 'nets.py:Net'``."""
        place = self.spec.removeprefix(IN_PYTHON) if self.entry is None else self.entry.value
        in_file = file_and_class(place)
        return f"model '{f'{Path(in_file[0]).name}:{in_file[1]}' if in_file else place}'"

    def network(self, num_classes: int | None) -> Any:
        """Returns what `lrtrain.nn.network.network_of` takes.

        The number of classes is passed as ``num_classes`` to what has such an argument and is given no other.

        Raises:
          ModelError: it cannot be imported, is no Flax module, or cannot be made.
          OptionError: an option is unknown or missing, or its value is of another type.
        """
        found = self.made if self.entry is None else _imported(self.entry, self.title)
        return _Maker(self.title, found, self.entry is None).network(self.options, num_classes)


def load_model(given: Any) -> ChosenModel | None:
    """Returns the model that is given as ``./file.py:Class``, as ``"package.module:Class(width=3)"`` or made in Python.

    None stays None: the network of the workload. Raises ModelError when the text names no model.
    """
    if given is None or isinstance(given, ChosenModel):
        return given
    if not isinstance(given, str | Spec):
        name = getattr(given, "__name__", None) or type(given).__name__
        return ChosenModel(f"{IN_PYTHON}{name}", made=given)
    if isinstance(given, str) and given.startswith(IN_PYTHON):
        name = given.removeprefix(IN_PYTHON)
        raise ModelError(f"the model {name} was made in Python: give it again, as model={name}")
    try:
        spec = Spec.of(given)
    except SpecError as error:
        raise ModelError(f"model '{short(str(given))}' is refused: {error}") from error
    in_file = file_and_class(spec.name)
    if in_file is None and not is_in_module(spec.name):
        raise ModelError(f"model '{spec.name}' is not of the form package.module:Class or ./file.py:Class")
    module = spec.name.partition(":")[0]
    entry = (
        entry_in_file(spec.name, *in_file, MODELS)
        if in_file
        else Entry(spec.name, spec.name, module, "", "", group=MODELS)
    )
    # In one order, so that equal options are equal texts.
    options = dict(sorted(spec.options.items()))
    return ChosenModel(str(Spec(entry.reference, options)), entry, options)


def _imported(entry: Entry, title: str) -> Any:
    try:
        with plugin_called():
            return load_from_file(entry) if entry.in_file else _in_module(*entry.value.split(":"))
    except Terminated:
        raise
    except (Exception, SystemExit) as error:
        if os.environ.get("LRTRAIN_TRACEBACK") == "1":
            raise
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name == entry.distribution:
            file = Path(f"{entry.distribution.replace('.', '/')}.py")
            hint = f": write ./{file}:{entry.value.partition(':')[2]} for the file here" if file.is_file() else ""
        raise ModelError(f"{title} fails to import: {cause(error)}{hint}") from error


def _in_module(module_name: str, member: str) -> Any:
    module = importlib.import_module(module_name)
    if not hasattr(module, member):
        raise AttributeError(f"{module_name} has no '{member}'{nearest(member, vars(module))}")
    return getattr(module, member)


@dataclass(frozen=True)
class _Maker:
    """What makes a model: a class, a function, or the model itself; ``from_python`` if no spec names it."""

    title: str
    found: Any
    from_python: bool

    def network(self, options: Mapping[str, Any], num_classes: int | None) -> Any:
        import flax.linen as nn
        from flax import nnx

        found = self.found
        if isinstance(found, nn.Module | nnx.Module):
            if options:
                raise OptionError(f"{self.title} is made already, so it takes no options: leave them out")
            return found
        if isinstance(found, type):
            if not issubclass(found, nn.Module | nnx.Module):
                raise ModelError(f"{self.title} is a class that is no Flax module: {_EXPECTED}")
        elif not (inspect.isroutine(found) or isinstance(found, functools.partial)):
            raise ModelError(f"{self.title} is a {type(found).__module__}.{type(found).__qualname__}: {_EXPECTED}")
        return self._made(options, num_classes)

    def _made(self, options: Mapping[str, Any], num_classes: int | None) -> Any:
        import flax.linen as nn
        from flax import nnx

        parameters = _signature(self.found)
        values = self._values(options, parameters)
        bound = self.found.keywords if isinstance(self.found, functools.partial) else {}
        if "num_classes" in parameters and "num_classes" not in {**values, **bound} and num_classes is not None:
            values["num_classes"] = num_classes
        needed = [name for name, each in parameters.items() if each.default is each.empty and each.kind in _NAMED]
        missing = [name for name in needed if name not in values and name not in _OF_FLAX]
        is_linen = isinstance(self.found, type) and issubclass(self.found, nn.Module)
        if "rngs" in parameters and not is_linen and not missing:
            return lambda rngs: self.found(**values, rngs=rngs)
        if self.from_python and len(missing) == 1 and not isinstance(self.found, type):
            return self.found
        if missing:
            raise OptionError(f"{self.title} needs its option '{missing[0]}': give {missing[0]}=...")
        try:
            with plugin_called():
                made = self.found(**values)
        except (LrtrainError, Terminated):
            raise
        except (Exception, SystemExit) as error:
            raise ModelError(f"{self.title} cannot be made: {cause(error)}") from error
        if not isinstance(made, nn.Module | nnx.Module):
            raise ModelError(f"{self.title} returns a {type(made).__qualname__}: {_EXPECTED}")
        return made

    def _values(self, options: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
        known = [name for name, each in parameters.items() if each.kind in _NAMED and name not in _OF_FLAX]
        takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        for name in options:
            if name not in known and not takes_any:
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise OptionError(f"{self.title} has no option '{name}'{nearest(name, known)}; {has}")
        module = vars(sys.modules.get(getattr(self.found, "__module__", ""), types.ModuleType("none")))
        hints = {name: _hint(each, module) for name, each in parameters.items()}
        return {
            name: _hashable(value if (hint := hints.get(name)) is None else checked(self.title, name, hint, value))
            for name, value in options.items()
        }


def _signature(found: Any) -> Mapping[str, inspect.Parameter]:
    try:
        if not isinstance(found, type):
            return inspect.signature(found).parameters
        # Not of the class: that of nnx has a metaclass, whose call takes anything.
        _, *parameters = inspect.signature(found.__init__).parameters.values()  # type: ignore[misc]  # of a class: meant
        return {each.name: each for each in parameters}
    # Some of those that are written in C have none.
    except (TypeError, ValueError):
        return {}


def _hint(parameter: inspect.Parameter, module: Mapping[str, Any]) -> Any:
    """Returns the type of an option; None where it is none that a spec can hold, or not known."""
    hint = parameter.annotation
    if isinstance(hint, str):
        holder = types.SimpleNamespace(__annotations__={"hint": hint})
        try:
            hint = typing.get_type_hints(holder, dict(module))["hint"]
        # A name that is imported for type checkers only.
        except Exception:  # noqa: BLE001  # a user's text is evaluated
            return None
    if hint is parameter.empty and isinstance(parameter.default, _PLAIN[:4]):
        return type(parameter.default)
    if not _is_plain(hint):
        return None
    if typing.get_origin(hint) is not Sequence:
        return hint
    return list[typing.get_args(hint)]  # type: ignore[misc]  # a type that is made at run time


def _is_plain(hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType, list, tuple, Sequence):
        return all(each is Ellipsis or _is_plain(each) for each in arguments)
    return origin is Literal or hint in _PLAIN


def _hashable(value: Any) -> Any:
    """Returns a list as a tuple, since the fields of a Linen module are hashed."""
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value
