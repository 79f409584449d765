"""Running a plugin's code: loaded from a file, without side effects on the process, and with a trace if asked for."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any

from lrtrain.errors import nearest
from lrtrain.plugins.discovery import Entry
from lrtrain.plugins.spec import short
from lrtrain.signals import handlers_put_back

_LONGEST = 200


@contextlib.contextmanager
def plugin_called() -> Iterator[None]:
    """Surrounds every call of a plugin's code: it can neither print into the results nor block the end of a run.

    What it prints goes to standard error, and the handlers of signals are restored afterwards.
    """
    with contextlib.redirect_stdout(sys.stderr), handlers_put_back():
        yield


def load_from_file(entry: Entry) -> Any:
    """Returns the class that `/path/of/file.py:Class` names, loaded from that path and from nowhere else."""
    cls = entry.value.rpartition(":")[2]
    # Named by path and content: in one process the same content gives the same class, and a changed file another.
    module = _module(f"_lrtrain_file_{abs(hash(entry.distribution))}_{entry.version}", entry.distribution)
    if not hasattr(module, cls):
        classes = [name for name, each in vars(module).items() if isinstance(each, type)]
        raise AttributeError(f"it has no class '{cls}'{nearest(cls, classes)}")
    return getattr(module, cls)


def _module(name: str, path: str) -> Any:
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, loader=_Source(name, path))
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and the types of options are looked up there.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _Source(SourceFileLoader):
    """Always reads the source: bytecode is found by a time in seconds, and would be written beside the user's file."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002  # the name is importlib's
        return self.source_to_code(self.get_data(self.path), self.path)


def traced(method: Callable[..., Any], hook: str, name: str) -> Callable[..., Any]:
    """Returns a hook that also says on standard error what it answers; pluggy reads its arguments from ``method``."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            answer = method(*args, **kwargs)
        except BaseException as error:
            _say(f"lrtrain: hook {hook} of {name} raised {error!r}")
            raise
        _say(f"lrtrain: hook {hook} of {name} -> {answer!r}")
        return answer

    return call


def _say(line: str) -> None:
    print(short(line, _LONGEST), file=sys.stderr, flush=True)
