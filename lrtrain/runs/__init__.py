"""Runs on disk: the directory of a run, what is in its files, and what they say. Public as `lrtrain.runs`.

As of the package itself, each public name is imported when it is first used: most of the rooms here are for those that
write runs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrtrain.runs.reading import find_runs, newest_checkpoint, pick_run, read_run, run_paths
    from lrtrain.runs.record import Epoch, Head, Run, State

__all__ = ["Epoch", "Head", "Run", "State", "find_runs", "newest_checkpoint", "pick_run", "read_run", "run_paths"]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'lrtrain.runs' has no attribute {name!r}")
    # It has the types of a run too.
    return getattr(importlib.import_module("lrtrain.runs.reading"), name)
