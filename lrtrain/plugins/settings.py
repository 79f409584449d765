"""``--set NAME=VALUE`` and ``--set PLUGIN.NAME=VALUE``: options that are given outside of the spec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lrtrain.errors import OptionError, SpecError, nearest
from lrtrain.plugins.spec import Spec, Value, normal_name, parse_value


def apply_settings(
    specs: Sequence[Spec], settings: Sequence[str], builders: Sequence[str], *, override: bool = False
) -> list[Spec]:
    """Returns the specs with the settings added; one without a plugin goes to the only one of the ``builders``.

    Raises:
      SpecError: a setting is not ``NAME=VALUE``.
      OptionError: its plugin was not named, or the option was given twice.
    """
    result = {normal_name(spec.name): spec for spec in specs}
    given = {name: set() if override else set(spec.options) for name, spec in result.items()}
    for setting in settings:
        plugin, option, value = _parse(setting)
        target = _target(plugin, setting, list(result), builders)
        spec = result[target]
        if option in given[target]:
            raise OptionError(f"--set {setting}: {option} of '{target}' is given twice")
        given[target].add(option)
        result[target] = replace(spec, options={**spec.options, option: value})
    return list(result.values())


def _parse(setting: str) -> tuple[str | None, str, Value]:
    left, equals, right = setting.partition("=")
    plugin, dot, option = left.strip().rpartition(".")
    if not equals or not option or (dot and not plugin):
        raise SpecError(f"--set {setting} cannot be read: write --set NAME=VALUE or --set PLUGIN.NAME=VALUE")
    return (normal_name(plugin) if dot else None), option.replace("-", "_"), parse_value(right)


def _target(plugin: str | None, setting: str, named: list[str], builders: Sequence[str]) -> str:
    if plugin is None:
        if len(builders) != 1:
            raise OptionError(f"--set {setting}: which plugin is meant? write --set PLUGIN.{setting}")
        return normal_name(builders[0])
    if plugin not in named:
        raise OptionError(
            f"--set {setting}: plugin '{plugin}' is not named{nearest(plugin, named)}; add --plugin {plugin}"
        )
    return plugin
