"""The versions that a run depends on, read from metadata."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable

_LIBRARIES = ("lrtrain", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "numpy")


def versions(distributions: Iterable[str] = ()) -> dict[str, str]:
    """Returns the versions of Python, of the libraries that compute, and of further distributions."""
    names = dict.fromkeys([*_LIBRARIES, *distributions])
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}
