"""The environment that lrtrain runs in: its installer, and the distributions in it, with their plugins."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from lrtrain.errors import LrtrainError, UsageError
from lrtrain.plugins.discovery import WORDS, Entry, find_plugins
from lrtrain.plugins.spec import normal_name


@dataclass(frozen=True)
class Installer:
    """The program that installs into this environment, and the words that begin its commands."""

    name: str
    install: tuple[str, ...]
    uninstall: tuple[str, ...]

    def run(self, words: Sequence[str], arguments: Sequence[str]) -> None:
        """Runs it with its output on standard error; raises LrtrainError when it fails."""
        # Standard output is for the output of lrtrain.
        done = subprocess.run([*words, "--", *arguments], check=False, stdout=sys.stderr)
        if done.returncode != 0:
            raise LrtrainError(f"{self.name} has failed, for the reason above: nothing may have changed")


def find_installer() -> Installer:
    """Returns pip where this environment has it, or else uv; UsageError where there is neither."""
    if importlib.util.find_spec("pip") is not None:
        # With -P a folder `pip` in the current directory is not imported.
        pip = (sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "--no-input")
        return Installer("pip", (*pip, "install", "--quiet"), (*pip, "uninstall", "--quiet", "--yes"))
    uv = shutil.which("uv")
    if uv is not None:
        here = ("--quiet", "--python", sys.executable)
        return Installer("uv", (uv, "pip", "install", *here), (uv, "pip", "uninstall", *here))
    raise UsageError(
        f"neither pip nor uv is here to install with: {shlex.quote(sys.executable)} -m ensurepip installs pip"
    )


@dataclass(frozen=True)
class Distribution:
    """An installed distribution: its name, its version, where it came from if that is a path, and what it provides."""

    name: str
    version: str
    path: Path | None
    entries: tuple[Entry, ...]

    @property
    def provided(self) -> str:
        """What it provides, in words: ``plugins a, b and workload c``; empty if that is nothing."""
        names = {group: [entry.name for entry in self.entries if entry.group == group] for group in WORDS}
        return " and ".join(
            f"{WORDS[group]}{'s' if len(found) > 1 else ''} {', '.join(found)}"
            for group, found in names.items()
            if found
        )

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def distributions() -> dict[str, Distribution]:
    """Returns all that is installed now, by its normal name."""
    importlib.invalidate_caches()
    entries = [entry for group in WORDS for entry in find_plugins(group)]
    found: dict[str, Distribution] = {}
    for each in importlib.metadata.distributions():
        try:
            name, version, url = each.name, each.version, each.read_text("direct_url.json")
        except Exception:  # noqa: BLE001  # damaged, as after an interrupted install
            continue
        key = canonicalize_name(name or "")
        if key and key not in found:
            provided = tuple(entry for entry in entries if canonicalize_name(entry.distribution) == key)
            found[key] = Distribution(name, version, _path(url), provided)
    return found


def brought_twice(installed: Iterable[Distribution]) -> dict[str, tuple[Distribution, ...]]:
    """Returns what more than one distribution provides, by its title, each with those; none of it can be used."""
    providing: dict[str, tuple[Distribution, ...]] = {}
    for each in installed:
        for entry in each.entries:
            providing[entry.title] = (*providing.get(entry.title, ()), each)
    return {title: found for title, found in providing.items() if len(found) > 1}


def asked_for(argument: str, installed: Iterable[Distribution]) -> Distribution | None:
    """Returns the distribution that an argument of an install has installed; None if it is not known."""
    try:
        name = canonicalize_name(Requirement(argument).name)
    except InvalidRequirement:
        path = Path(argument.partition("[")[0]).expanduser().resolve()
        return next((each for each in installed if each.path == path), None)
    return next((each for each in installed if canonicalize_name(each.name) == name), None)


def distribution_of(name: str) -> Distribution:
    """Returns the distribution that provides a plugin or workload, or has that name itself.

    Raises:
      UsageError: there is none, there are two, or it is lrtrain.
    """
    installed = distributions()
    providing = [each for each in installed.values() if normal_name(name) in {entry.name for entry in each.entries}]
    itself = installed.get(canonicalize_name(name))
    if itself is not None and itself not in providing:
        providing = [itself]
    if not providing:
        raise UsageError(f"no plugin and no package '{name}' is installed: 'lrtrain plugins list' shows the plugins")
    if len(providing) > 1:
        names = " and ".join(sorted(each.name for each in providing))
        raise UsageError(f"'{name}' is {names}: name one of these packages")
    if canonicalize_name(providing[0].name) == "lrtrain":
        raise UsageError("lrtrain does not uninstall itself: pip uninstall lrtrain does")
    return providing[0]


def _path(direct_url: str | None) -> Path | None:
    """Returns the folder or file that a distribution was installed from (PEP 610)."""
    if direct_url is None:
        return None
    parts = urlsplit(str(json.loads(direct_url).get("url", "")))
    return Path(unquote(parts.path)).resolve() if parts.scheme == "file" else None
