"""Packages that only some commands need, and that pip installs with an extra: ``pip install 'lrtrain[compare]'``."""

from __future__ import annotations

import importlib.util

from lrtrain.errors import UsageError

_PACKAGES = {
    "compare": ("plotly",),
    "testing": ("pytest", "hypothesis"),
    "tfds": ("tensorflow_datasets", "array_record", "importlib_resources"),
}


def absent(extra: str, what: str) -> str | None:
    """Returns one sentence if ``what`` needs a package of an extra that is not installed, else None; imports none."""
    missing = [name for name in _PACKAGES[extra] if importlib.util.find_spec(name) is None]
    return f"{what} needs {' and '.join(missing)}: run `pip install 'lrtrain[{extra}]'`" if missing else None


def check_extra(extra: str, what: str) -> None:
    """Raises UsageError with the sentence of `absent`, if there is one."""
    if said := absent(extra, what):
        raise UsageError(said)
