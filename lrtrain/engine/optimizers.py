"""The optimizers: from a spec, ``adamw(weight_decay=0.05)``, to a transformation of optax without a learning rate.

A spec names an optimizer of optax, one of an installed package, or a function in a file or module. `canonical` gives
the one form of a user's text, which a run stores; `optimizer` builds what it means.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrtrain.errors import LrtrainError, UsageError, cause, nearest
from lrtrain.plugins.discovery import OPTIMIZERS as OPTIMIZER_GROUP
from lrtrain.plugins.spec import Spec, file_and_class, is_in_module, normal_name, parse_spec

if TYPE_CHECKING:
    import optax

    from lrtrain.engine.optimizer_options import Option
    from lrtrain.plugins.discovery import Entry

# Known without optax; a package cannot replace them.
OPTIMIZERS = ("adagrad", "adam", "adamw", "lamb", "lion", "momentum", "nadam", "nesterov", "rmsprop", "sgd")
# The update of the others is divided by the size of the gradient.
PROPORTIONAL_TO_THE_GRADIENT = ("momentum", "nesterov", "sgd")
_SHORT_FOR: dict[str, dict[str, Any]] = {"momentum": {"momentum": 0.9}, "nesterov": {"momentum": 0.9, "nesterov": True}}
_WITH_MASK = ("adamw", "lamb", "lion")


@dataclass(frozen=True)
class _Maker:
    """What a name of an optimizer stands for: the function that makes it, and its options.

    ``rate`` is whether the function's first argument is a learning rate, as it is in optax.
    """

    name: str
    make: Callable[..., Any]
    options: Mapping[str, Option]
    rate: bool

    @property
    def title(self) -> str:
        """How errors call it."""
        return f"optimizer '{self.name}'"

    def build(self, values: Mapping[str, Any], rate: object) -> Any:
        """Returns a transformation with options as `read` returns them; UsageError when the function fails."""
        from lrtrain.plugins.isolation import plugin_called
        from lrtrain.signals import Terminated

        given = {self.options[name].parameter: self.options[name].argument(value) for name, value in values.items()}
        try:
            with plugin_called():
                return self.make(*([rate] if self.rate else []), **given)
        except (LrtrainError, Terminated):
            raise
        except (Exception, SystemExit) as error:
            raise UsageError(f"{self.title} fails with these options: {cause(error)}") from error


def canonical(text: str) -> str:
    """Returns the one text for what a user's text means: the name, and the options that differ from their defaults.

    Weight decay leaves out parameters of fewer than two dimensions unless the user says ``mask=none``; the text always
    says which: ``adamw(mask=matrices)``. The path of a file is absolute. Raises UsageError when the text cannot be
    read, the optimizer is unknown, or an option is refused.
    """
    spec = parse_spec(text)
    name = normal_name(spec.name)
    if not spec.options and name in OPTIMIZERS:
        return f"{name}(mask=matrices)" if name in _WITH_MASK else name
    maker, given = _found(spec)
    values = {**given, "mask": given.get("mask", "matrices")} if "mask" in maker.options and maker.rate else given
    values = {name: values[name] for name, option in maker.options.items() if option.is_said(values)}
    short_names = [short for short, meaning in _SHORT_FOR.items() if maker.name == "sgd" and values == meaning]
    return next(iter(short_names), str(Spec(maker.name, values)))


def as_before(text: str) -> str:
    """Returns the canonical text for a stored one: an earlier lrtrain stored a name alone, and masked nothing."""
    return f"{text}(mask=none)" if text in _WITH_MASK else text


@functools.cache
def changed_gradients(
    transformation: optax.GradientTransformation, clip_norm: float | None, weight_decay: float
) -> optax.GradientTransformation:
    """Returns an optimizer whose gradients are changed first; the same object for equal arguments.

    A gradient whose norm, over all parameters, is above ``clip_norm`` is scaled down to it. Then ``weight_decay`` times
    each weight is added to its gradient, but for biases and scales, which have less than two dimensions.
    """
    import jax
    import optax

    def mask(params: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    clips = [] if clip_norm is None else [optax.clip_by_global_norm(clip_norm)]
    decays = [optax.add_decayed_weights(weight_decay, mask)] if weight_decay else []
    return optax.chain(*clips, *decays, transformation) if clips or decays else transformation


def optimizer(text: str) -> optax.GradientTransformation:
    """Returns the optimizer of a canonical text, such that ``params - learning_rate * update`` is its step.

    Every call returns the same object, so that runs with one optimizer share one compiled step. Weight decay is part of
    the update and so is multiplied by the learning rate; without the option ``mask`` it has no mask. Raises UsageError
    when the optimizer cannot be used.
    """
    source = source_of(text)
    return _built(text, "" if source is None else source.version)


@functools.cache
def _built(text: str, version: str) -> optax.GradientTransformation:  # noqa: ARG001  # it keys the cache
    """Returns the optimizer of a text; a file that has changed has another ``version``, and gives another object."""
    from lrtrain.engine.optimizer_check import check_linear, check_updates

    maker, values = _found(parse_spec(text))
    # Optax multiplies by minus the learning rate at the end: -1 leaves the update unchanged.
    transformation: optax.GradientTransformation = maker.build(values, -1.0)
    if not maker.rate:
        check_updates(maker.title, transformation)
    elif maker.name not in OPTIMIZERS:
        check_linear(maker.title, transformation, functools.partial(maker.build, values))
    return transformation


def source_of(text: str) -> Entry | None:
    """Returns where the function of a canonical text comes from; None for an optimizer of optax."""
    name = parse_spec(text).name
    return None if name in OPTIMIZERS else _entry(name)


def is_proportional_to_the_gradient(text: str) -> bool:
    """Returns whether the update of an optimizer is proportional to the gradient, whatever its options."""
    return parse_spec(text).name in PROPORTIONAL_TO_THE_GRADIENT


def _found(spec: Spec) -> tuple[_Maker, dict[str, Any]]:
    """Returns what a spec names, and its options as they were given, checked."""
    from lrtrain.engine.optimizer_options import read

    name = normal_name(spec.name)
    if name in _SHORT_FOR:
        spec = Spec("sgd", {**_SHORT_FOR[name], **spec.options})
    maker = _maker(spec.name)
    return maker, read(maker.title, maker.options, spec.options)


def _maker(name: str) -> _Maker:
    """Returns what a name stands for; raises UsageError when it is unknown, or two have it."""
    from lrtrain.engine.devices import keep_compiled
    from lrtrain.engine.optimizer_options import options_of_optax

    # JAX, which optax and a user's file import, has to know by then where compiled programs are kept.
    keep_compiled()
    word = normal_name(name).replace("-", "_")
    entry = None if word in OPTIMIZERS else _entry(name)
    known = _of_optax()
    if entry is None and word in known:
        return _Maker(word, known[word], options_of_optax(known[word]), True)
    if entry is None:
        names = sorted({*known, *_SHORT_FOR, *(each.name for each in _packages())})
        raise UsageError(f"unknown optimizer '{name}'{nearest(word, names)}; known are {', '.join(names)}")
    if not is_in_module(name) and not entry.in_file:
        _check_not_of_optax(entry)
    return _of_user(entry)


def check_optimizer(entry: Entry) -> None:
    """Imports the function of an optimizer that a package provides.

    Raises:
      PluginError: it cannot be imported.
      UsageError: it is no function, its options cannot be read, or optax has an optimizer of its name.
    """
    _check_not_of_optax(entry)
    _of_user(entry)


def _check_not_of_optax(entry: Entry) -> None:
    if entry.name.replace("-", "_") in _of_optax():
        import optax

        raise UsageError(
            f"optimizer '{entry.name}' is provided by optax {optax.__version__} and {entry.origin()}: write "
            f"{entry.value} for that of the package"
        )


def _of_user(entry: Entry) -> _Maker:
    from lrtrain.engine.optimizer_options import options_of
    from lrtrain.plugins.loading import load

    function = load(entry, f"optimizer '{entry.reference}' of {entry.origin().strip()}", "function")
    if not callable(function):
        raise UsageError(f"optimizer '{entry.reference}' is {function!r}, and no function that returns an optimizer")
    return _Maker(entry.reference, function, options_of(function), False)


def _entry(name: str) -> Entry | None:
    """Returns the function that a name stands for if it is one in a file, in a module or of an installed package."""
    from lrtrain.plugins.discovery import Entry, entry_in_file

    if in_file := file_and_class(name):
        return entry_in_file(name, *in_file, OPTIMIZER_GROUP)
    if is_in_module(name):
        return Entry(name, name, name.partition(":")[0], "", "", group=OPTIMIZER_GROUP)
    found = [each for each in _packages() if each.name == normal_name(name)]
    if len(found) > 1:
        origins = " and ".join(each.origin() for each in found)
        raise UsageError(f"optimizer '{name}' is provided by {origins}: uninstall one of the two")
    return next(iter(found), None)


def _packages() -> tuple[Entry, ...]:
    from lrtrain.plugins.discovery import find_plugins

    return find_plugins(OPTIMIZER_GROUP)


@functools.cache
def _of_optax() -> dict[str, Callable[..., Any]]:
    """Returns optax's functions whose first parameter is a learning rate, by name."""
    import inspect

    import optax
    import optax.contrib

    found: dict[str, Callable[..., Any]] = {}
    for name, function in {**vars(optax.contrib), **vars(optax)}.items():
        # Some are another one with other defaults.
        is_function = inspect.isfunction(function) or isinstance(function, functools.partial)
        if is_function and not name.startswith(("_", "scale_by_")):
            first = next(iter(inspect.signature(function).parameters), "")
            if first in ("learning_rate", "max_learning_rate"):
                found[name] = function
    return found
