"""What is wrong with an installed plugin, and what cures it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lrtrain.errors import LrtrainError
from lrtrain.plugins.discovery import Entry
from lrtrain.plugins.loading import load_class


@dataclass(frozen=True)
class Problem:
    """A reason not to use a plugin as it is.

    Args:
      kind: ``"incompatible"``: its package is made for another lrtrain; ``"broken"``: it cannot be loaded;
        ``"duplicate"``: two packages provide one of that name.
      text: what is wrong.
      cure: what to do, the command first where there is one.
    """

    kind: Literal["incompatible", "broken", "duplicate"]
    text: str
    cure: str


def problems_of(
    entry: Entry, installed: Sequence[Entry], load: Callable[[Entry], Any] = load_class
) -> Iterator[Problem]:
    """Imports one of the installed plugins and yields all its problems, each cause before what follows from it."""
    away = f"lrtrain plugins uninstall {entry.distribution}"
    needs = _refused_requirement(entry)
    if needs is not None:
        running = importlib.metadata.version("lrtrain")
        text = f"{entry.origin()} needs {needs}, and this is lrtrain {running}"
        upgrade = f"lrtrain plugins install --upgrade {entry.distribution}"
        yield Problem("incompatible", text, f"{upgrade}, or {away}")
    try:
        load(entry)
    except LrtrainError as error:
        yield Problem("broken", str(error), f"fix it, or {away}")
    others = [each for each in installed if each.name == entry.name and each.distribution != entry.distribution]
    if others:
        text = f"{entry.title} is also provided by {' and '.join(each.origin() for each in others)}"
        yield Problem("duplicate", text, f"keep one: {away} removes this one")


def _refused_requirement(entry: Entry) -> str | None:
    """Returns what the plugin's distribution requires of lrtrain, when the lrtrain that runs is something else."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    running = importlib.metadata.version("lrtrain")
    for text in importlib.metadata.requires(entry.distribution) or []:
        try:
            required = Requirement(text)
        except InvalidRequirement:
            continue
        applies = required.marker is None or required.marker.evaluate({"extra": ""})
        refused = not required.specifier.contains(running, prereleases=True)
        if canonicalize_name(required.name) == "lrtrain" and applies and refused:
            return f"lrtrain{required.specifier}"
    return None
