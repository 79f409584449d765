"""Python, the packages that lrtrain needs, and the plugins."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterator

from lrtrain.doctor.finding import Finding

_EXTRAS = {"compare": "lrtrain compare and lrtrain report", "stream": "training sets that no device holds"}


def examine_python() -> Iterator[Finding]:
    """Looks at the interpreter."""
    yield Finding("Python", "ok", f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}")


def examine_packages() -> Iterator[Finding]:
    """Looks at the versions of all packages that lrtrain needs, and at its extras."""
    yield Finding("lrtrain", "ok", importlib.metadata.version("lrtrain"))
    problems = list(_problems(""))
    for distribution, detail, cure in problems:
        yield Finding(distribution, "fault", detail, cure)
    if not problems:
        yield Finding("packages", "ok", _shown(["jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"]))
    for extra, use in _EXTRAS.items():
        missing = [distribution for distribution, _, _ in _problems(extra)]
        if missing:
            cure = f"pip install 'lrtrain[{extra}]'"
            yield Finding(f"extra {extra}", "note", f"{' and '.join(missing)} not there, for {use}", cure)


def examine_plugins() -> Iterator[Finding]:
    """Imports every plugin; what is wrong with one is what ``lrtrain plugins list --load`` says."""
    from lrtrain.plugins.discovery import find_plugins
    from lrtrain.plugins.problems import problems_of

    entries = find_plugins()
    found = [(entry, problem) for entry in entries for problem in problems_of(entry, entries)]
    for entry, problem in found:
        yield Finding(f"plugin {entry.name}", "fault", problem.text, problem.cure)
    if not entries:
        yield Finding("plugins", "fault", "none is installed", "pip install 'lrtrain[all]'")
    elif not found:
        yield Finding("plugins", "ok", f"{len(entries)} installed, and each can be loaded")


def _problems(extra: str) -> Iterator[tuple[str, str, str]]:
    """Yields distribution, detail and cure of what is required, with that extra or without any, and not there."""
    from packaging.requirements import Requirement

    for text in importlib.metadata.requires("lrtrain") or []:
        required = Requirement(text)
        in_extra = required.marker is not None and "extra" in str(required.marker)
        if in_extra != bool(extra) or (required.marker and not required.marker.evaluate({"extra": extra})):
            continue
        try:
            installed = importlib.metadata.version(required.name)
        except importlib.metadata.PackageNotFoundError:
            yield required.name, "is not installed", f"pip install '{required.name}{required.specifier}'"
            continue
        if not required.specifier.contains(installed, prereleases=True):
            detail = f"is {installed}, and lrtrain needs {required.specifier}"
            yield required.name, detail, f"pip install '{required.name}{required.specifier}'"


def _shown(names: list[str]) -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
