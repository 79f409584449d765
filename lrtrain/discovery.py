"""Which plugins are installed: read from the metadata of distributions, nothing imported."""

from __future__ import annotations

import importlib.metadata
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from lrtrain.errors import PluginError, nearest
from lrtrain.spec import normal_name

GROUP = "lrtrain.plugins"
_read: ContextVar[tuple[Entry, ...] | None] = ContextVar("_read", default=None)


@dataclass(frozen=True)
class Entry:
    """One plugin as its distribution announces it.

    Args:
      name: the plugin's name, with ``-`` between words.
      value: the entry point, ``module:Class``.
      distribution: the distribution that brings it.
      version: that distribution's version.
      summary: that distribution's one-line description.
    """

    name: str
    value: str
    distribution: str
    version: str
    summary: str

    def origin(self) -> str:
        """Returns the distribution with its version, as it is named in errors."""
        return f"{self.distribution} {self.version}"


def find_plugins() -> tuple[Entry, ...]:
    """Returns all installed plugins, by name; one name may occur twice (see `duplicates`)."""
    return _read.get() or tuple(sorted(_entries(), key=lambda entry: (entry.name, entry.distribution)))


@contextmanager
def read_once() -> Iterator[None]:
    """While it is open, what is installed is read only once: for work that loads plugins hundreds of times."""
    token = _read.set(find_plugins())
    try:
        yield
    finally:
        _read.reset(token)


def duplicates(entries: Iterable[Entry]) -> frozenset[str]:
    """Returns the names that more than one distribution claims."""
    counts = Counter(entry.name for entry in entries)
    return frozenset(name for name, count in counts.items() if count > 1)


def find_plugin(name: str) -> Entry:
    """Returns the one installed plugin of that name.

    Raises:
      PluginError: no distribution brings it (the nearest name is suggested), or two do (both are named).
    """
    entries = find_plugins()
    found = [entry for entry in entries if entry.name == normal_name(name)]
    if not found:
        raise PluginError(_unknown(name, entries))
    if len(found) > 1:
        origins = " and ".join(entry.origin() for entry in found)
        raise PluginError(f"plugin '{found[0].name}' is brought by {origins}: uninstall one of the two")
    return found[0]


def _unknown(name: str, entries: tuple[Entry, ...]) -> str:
    if not entries:
        return f"no plugin '{name}' is installed, nor any other: pip install 'lrtrain[all]' brings those of lrtrain"
    names = sorted({entry.name for entry in entries})
    return (
        f"no plugin '{name}' is installed{nearest(normal_name(name), names)}; installed are {', '.join(names)}; "
        "others are installed with pip"
    )


def _entries() -> Iterator[Entry]:
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        try:
            metadata: Any = distribution.metadata  # `get` is there, and typeshed knows it from Python 3.12 on
            # Since Python 3.12 it is deprecated to ask by index for a field that is not there.
            name, summary = metadata.get("Name", ""), metadata.get("Summary", "")
            points = distribution.entry_points.select(group=GROUP)
        except Exception:  # noqa: BLE001  # damaged, as after an interrupted install: no harm to all the others
            continue
        key = re.sub(r"[-_.]+", "-", name).lower()
        # A folder that is on the path twice, or a copy shadowed by an earlier one, is no second distribution.
        if not name or key in seen:
            continue
        seen.add(key)
        for point in points:
            yield Entry(normal_name(point.name), point.value, name, distribution.version, summary)
