"""The schedules of a comparison: each a row, with a label, a plugin that builds it, and plugins that run beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lrtrain.errors import UsageError
from lrtrain.plugins.loading import activate, hooks_of
from lrtrain.plugins.spec import Spec, file_and_class, normal_name, split_specs
from lrtrain.strict_json import InvalidFileError


@dataclass(frozen=True)
class Row:
    """One schedule of a comparison.

    Args:
      label: its name in tables and pictures, unlike any other's.
      spec: the plugin that builds the schedule and its options, as given.
      observers: further plugins that run beside it.
    """

    label: str
    spec: Spec
    observers: tuple[Spec, ...] = ()

    @property
    def specs(self) -> tuple[Spec, ...]:
        """All of its plugins, the one that builds the schedule first."""
        return (self.spec, *self.observers)

    def __str__(self) -> str:
        """Its plugins as `--plugin` has them."""
        return " + ".join(map(str, self.specs))

    def check(self) -> None:
        """Raises UsageError where a plugin cannot be loaded, or the first one builds no schedule."""
        active = activate(self.specs)
        builders = [plugin for plugin in active.plugins if "build_schedule" in hooks_of(type(plugin.instance))]
        if active.plugins[0] not in builders:
            name = active.plugins[0].entry.name
            known = f"'{builders[0].entry.name} + {name}'" if builders else f"'constant + {name}'"
            raise UsageError(f"{name} builds no schedule, so there is nothing to tune: name one first, as in {known}")
        active.schedule_plugin()

    def to_json(self) -> dict[str, Any]:
        """Returns its table in ``comparison.json``."""
        table = {"label": self.label, **self.spec.table()}
        return {**table, "with": [each.table() for each in self.observers]} if self.observers else table


def row_of(table: dict[str, Any], title: str) -> Row:
    """Returns the row that `Row.to_json` wrote; raises InvalidFileError when the values are not those of one."""
    options = dict(table)
    label, observers = options.pop("label", None), options.pop("with", [])
    if not isinstance(label, str):
        raise InvalidFileError(f"{title}: schedules.label is refused: expected a text")
    if not isinstance(observers, list):
        raise InvalidFileError(f"{title}: schedules.with is refused: expected a list")
    return Row(label, Spec.of(options), tuple(map(Spec.of, observers)))


def labelled(given: Sequence[Spec | str | Mapping[str, Any]]) -> tuple[Row, ...]:
    """Returns a row for each spec, called by the plugin's name or, where that is not enough, by the whole spec.

    A text may name several plugins that run together, ``constant + reduce-on-plateau``: the first builds the schedule.
    """
    together = [tuple(map(Spec.of, split_specs(each) if isinstance(each, str) else [each])) for each in given]
    rows = [Row(label_of(specs), specs[0], specs[1:]) for specs in together]
    names = [row.label for row in rows]
    return tuple(row if names.count(row.label) == 1 else dataclasses.replace(row, label=str(row)) for row in rows)


def label_of(specs: Sequence[Spec]) -> str:
    """Returns the plugins' names as given; of a class in a file, the name that the class goes by."""
    return " + ".join(spec.name if file_and_class(spec.name) is None else normal_name(spec.name) for spec in specs)
