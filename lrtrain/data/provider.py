"""The data sets that installed packages provide: the entry-point group ``lrtrain.datasets``."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lrtrain.data.prepare import tfds
from lrtrain.errors import DataError, cause

GROUP = "lrtrain.datasets"


def provided_names() -> list[str]:
    """Returns the names of the data sets that installed packages provide; imports nothing."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def find_provider(name: str) -> EntryPoint | None:
    """Returns the entry point of a data set, if there is one, importing nothing; raises DataError if two have it."""
    found = [entry for entry in entry_points(group=GROUP) if entry.name.replace("-", "_") == name]
    owners = sorted({owner(entry) for entry in found})
    if len(owners) > 1:
        raise DataError(f"the data set '{name}' comes from {' and from '.join(owners)}: uninstall one of them")
    return found[0] if found else None


def owner(entry: EntryPoint) -> str:
    """Returns the distribution that ``entry`` belongs to and its version, as ``lrtrain-fashion-mnist 0.1.0``."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"


def builder_class(entry: EntryPoint) -> Any:
    """Imports the builder class that ``entry`` names; raises DataError when it cannot, or it is no builder class.

    Raises UsageError when tensorflow-datasets is not installed.
    """
    library = tfds()
    try:
        loaded = entry.load()
    except Exception as error:
        raise DataError(f"the data set '{entry.name}' of {owner(entry)} cannot be imported ({cause(error)})") from error
    if not (isinstance(loaded, type) and issubclass(loaded, library.core.DatasetBuilder)):
        raise DataError(
            f"the data set '{entry.name}' of {owner(entry)} names {entry.value}, "
            "which is no builder class of tensorflow-datasets"
        )
    return loaded
