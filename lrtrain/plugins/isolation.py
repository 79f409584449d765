"""Running a plugin's code: loaded from a file, and without side effects on the process."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lrtrain.errors import nearest
from lrtrain.plugins.discovery import Entry
from lrtrain.signals import handlers_put_back

_KINDS = {"class": type, "function": types.FunctionType}


@contextlib.contextmanager
def plugin_called() -> Iterator[None]:
    """Surrounds every call of a plugin's code: it can neither print into the results nor block the end of a run.

    What it prints goes to standard error, and the handlers of signals are restored afterwards.
    """
    with contextlib.redirect_stdout(sys.stderr), handlers_put_back():
        yield


def load_from_file(entry: Entry, kind: str = "class") -> Any:
    """Returns the class that `/path/of/file.py:Class` names, loaded from that path and from nowhere else.

    With the ``kind`` ``"function"``, it is the function of an optimizer.
    """
    name = entry.value.rpartition(":")[2]
    # Named by path and content: in one process the same content gives the same class, and a changed file another.
    module = _module(f"_lrtrain_file_{abs(hash(entry.distribution))}_{entry.version}", entry.distribution)
    if not hasattr(module, name):
        others = [each for each, value in vars(module).items() if isinstance(value, _KINDS[kind])]
        raise AttributeError(f"it has no {kind} '{name}'{nearest(name, others)}")
    return getattr(module, name)


def _module(name: str, path: str) -> Any:
    """Runs a file's source: Python finds bytecode by a time in seconds, and would write it beside the user's file."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and the types of options are looked up there.
    sys.modules[name] = module
    try:
        exec(compile(Path(path).read_bytes(), path, "exec", dont_inherit=True), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module
