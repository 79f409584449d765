"""Runs on disk: the directory of a run, what is in its files, and what they say. Public as `lrtrain.runs`.

As of the package itself, each public name is imported when it is first used: most of the rooms here are for those that
write runs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrtrain.runs.reading import find_runs as find_runs
    from lrtrain.runs.reading import newest_checkpoint as newest_checkpoint
    from lrtrain.runs.reading import pick_run as pick_run
    from lrtrain.runs.reading import read_run as read_run
    from lrtrain.runs.reading import run_paths as run_paths
    from lrtrain.runs.record import Epoch as Epoch
    from lrtrain.runs.record import Head as Head
    from lrtrain.runs.record import Run as Run
    from lrtrain.runs.record import State as State

_HOME = {
    "Epoch": "record",
    "Head": "record",
    "Run": "record",
    "State": "record",
    "find_runs": "reading",
    "newest_checkpoint": "reading",
    "pick_run": "reading",
    "read_run": "reading",
    "run_paths": "reading",
}

__all__ = sorted(_HOME)  # noqa: PLE0605  # one list of the public names, not two


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'lrtrain.runs' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lrtrain.runs.{_HOME[name]}"), name)
