"""Loading plugins: only what is named is imported, and every failure is one sentence."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import os
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

import pluggy

from lrtrain.errors import OptionError, PluginError, cause, nearest
from lrtrain.plugins import hookspecs
from lrtrain.plugins.discovery import Entry, find_plugin
from lrtrain.plugins.improvement import Judging, headline_named
from lrtrain.plugins.isolation import load_from_file, plugin_called
from lrtrain.plugins.options import make, resolved, scaled_defaults
from lrtrain.plugins.spec import Spec, normal_name, short
from lrtrain.signals import Terminated

HOOKS = ("build_schedule", "on_step", "on_epoch_end")
# What a plugin may have besides hooks and options; a misspelt one would be ignored in silence.
_OPTIONAL = ("formula", "traits")
_NEAR = 0.85
_TRACEBACK = "LRTRAIN_TRACEBACK=1 shows the traceback"


@dataclass(frozen=True)
class Plugin:
    """A plugin that has been loaded: where it comes from, and the instance made from the options given."""

    entry: Entry
    instance: Any

    def spec(self) -> Spec:
        """Returns the spec with all options resolved, those left at their defaults included."""
        return Spec(self.entry.reference, resolved(self.instance))


@dataclass(frozen=True)
class ActivePlugins:
    """The plugins of one run, in the order they were named, registered with a plugin manager of their own."""

    plugins: tuple[Plugin, ...]
    manager: pluggy.PluginManager
    factor: float = 1.0
    """What the learning rates that are defaults of options have been multiplied by."""

    def schedule_plugin(self) -> Plugin:
        """Returns the one plugin that builds the schedule; raises PluginError when none or two do."""
        found = [plugin for plugin in self.plugins if "build_schedule" in hooks_of(type(plugin.instance))]
        if len(found) == 1:
            return found[0]
        names = [plugin.entry.name for plugin in (found or self.plugins)]
        if found:
            raise PluginError(
                f"plugins {' and '.join(names)} both build a schedule, and a run has one: name only one of them"
            )
        raise PluginError(
            f"no plugin named builds a schedule ({', '.join(names) or 'none was named'}): add one, as in --plugin sgdr"
        )


def activate(
    specs: Sequence[Spec | str | Mapping[str, Any]],
    settings: Sequence[str] = (),
    *,
    override: bool = False,
    factor: float = 1.0,
    headline: Judging | None = None,
) -> ActivePlugins:
    """Loads the plugins named, makes an instance of each, and registers them.

    Args:
      specs: the plugins with their options.
      settings: further options as on the command line, ``NAME=VALUE`` for the plugin that builds the schedule, or
        ``PLUGIN.NAME=VALUE`` for any.
      override: whether a setting may replace an option of a spec, as when a run is resumed.
      factor: what every learning rate is multiplied by that is the default of an option: it suits the workload then.
      headline: the number that the workload is judged by, which an option of type `lrtrain.Metric` may name.

    Raises:
      SpecError: a spec or setting cannot be read.
      PluginError: a plugin is unknown or broken, or two distributions provide it.
      OptionError: an option is unknown or its value is refused.
    """
    from lrtrain.plugins.settings import apply_settings

    named = [Spec.of(spec) for spec in specs]
    names = [normal_name(spec.name) for spec in named]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"plugin '{name}' is named twice: name it once, with all its options")
    entries = [find_plugin(spec.name) for spec in named]
    classes = [load_class(entry) for entry in entries]
    builders = [spec.name for spec, each in zip(named, classes, strict=True) if "build_schedule" in hooks_of(each)]
    named = apply_settings(named, settings, builders, override=override)
    plugins = [
        Plugin(entry, _made(entry, each, {**scaled_defaults(each, factor), **spec.options}, headline))
        for entry, each, spec in zip(entries, classes, named, strict=True)
    ]
    return ActivePlugins(tuple(plugins), _registered(plugins), factor)


def _made(entry: Entry, plugin: type, options: Mapping[str, Any], headline: Judging | None) -> Any:
    instance = make(plugin, entry.title, options)
    named = headline_named(instance, headline) if headline else {}
    return make(plugin, entry.title, {**options, **named}) if named else instance


def load_class(entry: Entry) -> type:
    """Imports one plugin and checks its class as `check_class` does; PluginError too where it fails to import."""
    return check_class(load(entry), f"{entry.title} of {entry.origin()}")


def load(entry: Entry, title: str | None = None, kind: str = "class") -> Any:
    """Imports a class or function that an entry names; raises PluginError, which calls it so, where that fails."""
    try:
        with plugin_called():
            if entry.in_file:
                return load_from_file(entry, kind)
            return EntryPoint(entry.name, entry.value, entry.group).load()
    except Terminated:
        raise
    except (Exception, SystemExit) as error:
        if os.environ.get("LRTRAIN_TRACEBACK") == "1":
            raise
        title = title or f"{entry.title} of {entry.origin()}"
        raise PluginError(f"{title} fails to import: {cause(error)} ({_TRACEBACK})") from error


def check_class(loaded: object, title: str) -> type:
    """Returns ``loaded`` when it is a frozen dataclass with well-formed hooks; otherwise raises PluginError."""
    loaded = check_dataclass(loaded, title)
    for problem in _hook_problems(loaded):
        raise PluginError(f"{title} {problem}")
    return loaded


def check_dataclass(loaded: object, title: str, kind: str = "plugin") -> type:
    """Returns ``loaded`` when it is a frozen dataclass; otherwise raises PluginError."""
    if not isinstance(loaded, type) or not dataclasses.is_dataclass(loaded):
        raise PluginError(f"{title} names {loaded!r}: a {kind} is a class with @dataclass(frozen=True)")
    if not getattr(loaded, "__dataclass_params__").frozen:  # noqa: B009  # typeshed does not know the attribute
        raise PluginError(f"{title} is a dataclass that is not frozen: write @dataclass(frozen=True)")
    return loaded


def hooks_of(plugin: type) -> tuple[str, ...]:
    """Returns the hooks that a plugin class implements, in the order of `HOOKS`."""
    marked = _marked(plugin)
    return tuple(hook for hook in HOOKS if hook in marked)


def _marked(plugin: type) -> dict[str, Any]:
    members = inspect.getmembers(plugin, inspect.isroutine)
    return {name: each for name, each in members if getattr(each, f"{hookspecs.PROJECT}_impl", None) is not None}


def _hook_problems(plugin: type) -> Iterator[str]:
    marked = _marked(plugin)
    for name, method in marked.items():
        if name in HOOKS:
            yield from _argument_problems(name, method)
        else:
            yield f"has a hook '{name}' that does not exist{nearest(name, HOOKS)}: the hooks are {', '.join(HOOKS)}"
    for hook in HOOKS:
        if hook not in marked and inspect.isroutine(getattr(plugin, hook, None)):
            yield f"has a method {hook} without @hookimpl, so it would never be called"
    for name in _own_names(plugin):
        for meant in difflib.get_close_matches(name, _OPTIONAL, n=1, cutoff=_NEAR):
            yield f"has '{name}', which nothing reads (did you mean '{meant}'?): rename it, or begin it with _"
    if not marked:
        yield f"implements no hook: mark a method with @hookimpl (the hooks are {', '.join(HOOKS)})"


def _own_names(plugin: type) -> Iterator[str]:
    """Yields the public names of a class that are neither options nor hooks nor what lrtrain looks for."""
    known = {*HOOKS, *_OPTIONAL, *(field.name for field in dataclasses.fields(plugin))}
    names = {name for each in plugin.__mro__[:-1] for name in vars(each)}
    yield from sorted(name for name in names - known if not name.startswith("_"))


def _argument_problems(hook: str, method: Any) -> Iterator[str]:
    known = list(inspect.signature(getattr(hookspecs, hook)).parameters)
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        if parameter.default is not parameter.empty:
            yield f"gives '{parameter.name}' of {hook} a default, which would never be used: remove it"
        if parameter.name not in known:
            yield f"has '{parameter.name}' as an argument of {hook}, which is called with {', '.join(known)}"


def _registered(plugins: Sequence[Plugin]) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    # pluggy calls first what was registered last, and hooks are to be called in the order of the command line.
    for plugin in reversed(plugins):
        manager.register(_holder(plugin), name=plugin.entry.name)
    manager.check_pending()
    if os.environ.get("LRTRAIN_TRACE_PLUGINS") == "1":
        manager.add_hookcall_monitoring(lambda *_: None, _say_answer)
    return manager


def _holder(plugin: Plugin) -> types.ModuleType:
    """Returns the plugin's hooks in an object for pluggy, which compares and hashes what is registered.

    Instances may be equal (one class under two names), and cannot be hashed when an option is a table.
    """
    holder = types.ModuleType(plugin.entry.name)
    for hook in hooks_of(type(plugin.instance)):
        setattr(holder, hook, getattr(plugin.instance, hook))
    return holder


def _say_answer(outcome: pluggy.Result[Any], hook: str, impls: Sequence[pluggy.HookImpl], _: object) -> None:
    """Prints what a hook has answered; every call of one is a call of one plugin."""
    raised = outcome.exception
    said = f"-> {next(iter(outcome.get_result()), None)!r}" if raised is None else f"raised {raised!r}"
    print(short(f"lrtrain: hook {hook} of {impls[0].plugin_name} {said}", 200), file=sys.stderr, flush=True)
