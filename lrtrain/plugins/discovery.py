"""Which plugins and optimizers are installed: read from the metadata of distributions; nothing is imported."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from typing import Any

from lrtrain.errors import PluginError, nearest
from lrtrain.files import has_utf8_name
from lrtrain.plugins.spec import file_and_class, is_in_module, normal_name

GROUP = "lrtrain.plugins"
WORKLOADS = "lrtrain.workloads"
OPTIMIZERS = "lrtrain.optimizers"
# No package provides models: they are classes and functions in files and modules.
MODELS = "lrtrain.models"
# What is trained where no workload is named.
DEFAULT_WORKLOAD = "fashion-mnist-cnn"
# What stands in the place of a spec before the name of something that was made in Python.
IN_PYTHON = "python:"
WORDS = {GROUP: "plugin", WORKLOADS: "workload", OPTIMIZERS: "optimizer", MODELS: "model"}
"""What an entry of each group is called."""
_NAME = re.compile(r"^Name:(.*)$", re.MULTILINE)
_folder: ContextVar[Path] = ContextVar("_folder", default=Path())
_read: ContextVar[tuple[Entry, ...] | None] = ContextVar("_read", default=None)


@dataclass(frozen=True)
class Entry:
    """One plugin as its distribution declares it, or one optimizer.

    Args:
      name: the plugin's name, with ``-`` between words.
      value: the entry point, ``module:Class``; of an optimizer, ``module:function``.
      distribution: the distribution that provides it; the path of a plugin that is a class in a file.
      version: that distribution's version; of a file, the beginning of the SHA-256 of its content.
      summary: that distribution's one-line description.
      in_file: whether it is a class in a file that was named, and not installed.
      group: the group of its entry point: that of schedules and observers, or that of workloads.
    """

    name: str
    value: str
    distribution: str
    version: str
    summary: str
    in_file: bool = False
    group: str = GROUP

    @property
    def title(self) -> str:
        """The entry as it is named in errors, such as ``plugin 'sgdr'``."""
        return f"{WORDS[self.group]} '{self.name}'"

    @property
    def reference(self) -> str:
        """Its name in a spec: the plugin's name, or ``/path/of/file.py:Class``."""
        return self.value if self.in_file else self.name

    def origin(self) -> str:
        """Returns the distribution with its version, or the file, as it is named in errors."""
        return self.distribution if self.in_file else f"{self.distribution} {self.version}"


def find_plugins(group: str = GROUP) -> tuple[Entry, ...]:
    """Returns all installed plugins of a group, by name; one name may occur twice (see `duplicates`)."""
    known = _read.get() if group == GROUP else None
    return known or tuple(sorted(_entries(group), key=lambda entry: (entry.name, entry.distribution)))


@contextmanager
def read_once() -> Iterator[None]:
    """Reads what is installed only once while it is open: for work that loads plugins hundreds of times."""
    token = _read.set(find_plugins())
    try:
        yield
    finally:
        _read.reset(token)


def duplicates(entries: Iterable[Entry]) -> frozenset[str]:
    """Returns the names that more than one distribution claims."""
    counts = Counter(entry.name for entry in entries)
    return frozenset(name for name, count in counts.items() if count > 1)


@contextmanager
def files_below(folder: Path) -> Iterator[None]:
    """Makes relative paths of plugins in files, and of data, begin in ``folder``, not in the current directory."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def absolute(path: str | Path) -> Path:
    """Returns the absolute path of a file, so that a run finds it again from anywhere; see `files_below`."""
    return Path(_folder.get(), Path(path).expanduser()).absolute()


def find_plugin(name: str, group: str = GROUP) -> Entry:
    """Returns the one installed plugin of that name, or the class in a file that ``./file.py:Class`` names.

    Raises:
      PluginError: no distribution provides it, two do, or there is no such file.
    """
    in_file = file_and_class(name)
    if in_file is not None:
        return entry_in_file(name, *in_file, group)
    entries, word = find_plugins(group), WORDS[group]
    if is_in_module(name):
        raise PluginError(f"'{name}' is not the name of a {word}: one that is not installed is ./file.py:Class")
    found = [entry for entry in entries if entry.name == normal_name(name)]
    if not entries:
        raise PluginError(
            f"no {word} '{name}' is installed, nor any other: pip install 'lrtrain[all]' installs those of lrtrain"
        )
    if not found:
        names = sorted({entry.name for entry in entries})
        raise PluginError(
            f"no {word} '{name}' is installed{nearest(normal_name(name), names)}; installed are {', '.join(names)}; "
            "others are installed with pip"
        )
    if len(found) > 1:
        origins = " and ".join(entry.origin() for entry in found)
        raise PluginError(f"{found[0].title} is provided by {origins}: uninstall one of the two")
    return found[0]


def entry_in_file(name: str, path: str, member: str, group: str = GROUP) -> Entry:
    """Returns a class or function in a file."""
    file = absolute(path)
    if not has_utf8_name(file):
        raise PluginError(f"the {WORDS[group]}'s file {file} is refused: its path is not UTF-8, so rename it")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise PluginError(
            f"{WORDS[group]} '{name}' cannot be read: {file}: {error.strerror}; put the file there, or name it where "
            "it is"
        ) from error
    version = hashlib.sha256(content).hexdigest()[:12]
    return Entry(normal_name(name), f"{file}:{member}", str(file), version, f"a class in {file.name}", True, group)


def _entries(group: str) -> Iterator[Entry]:
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        try:
            name, points = _name(distribution), _points(distribution, group)
            summary = _field(distribution, "Summary") if points else ""
        except Exception:  # noqa: BLE001  # damaged, as after an interrupted install: the others can still be used
            continue
        key = normal_name(name)
        # A folder that is on the path twice, or a copy shadowed by an earlier one, is no second distribution.
        if not name or key in seen:
            continue
        seen.add(key)
        for point in points:
            yield Entry(normal_name(point.name), point.value, name, distribution.version, summary, group=group)


def _name(distribution: Distribution) -> str:
    """Returns its name; every distribution is asked for it, and few for more: to parse all metadata takes 0.1 s."""
    text = distribution.read_text("METADATA") or ""
    found = _NAME.search(text.partition("\n\n")[0])
    return found[1].strip() if found else _field(distribution, "Name")


def _points(distribution: Distribution, group: str) -> Sequence[EntryPoint]:
    text = distribution.read_text("entry_points.txt") or ""
    return tuple(distribution.entry_points.select(group=group)) if group in text else ()


def _field(distribution: Distribution, field: str) -> str:
    metadata: Any = distribution.metadata  # `get` is there, and typeshed knows it from Python 3.12 on
    # Since Python 3.12 it is deprecated to ask by index for a field that is not there.
    return str(metadata.get(field, ""))
