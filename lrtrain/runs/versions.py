"""The versions of the distributions that a run depends on, from their metadata."""

from __future__ import annotations

import importlib.metadata
import platform

from lrtrain.plugins.discovery import Entry

_LIBRARIES = ("lrtrain", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "numpy")


def versions(*plugins: Entry) -> dict[str, str]:
    """Returns the versions of Python, of the libraries, and of the distributions of the plugins."""
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), **libraries, **{each.distribution: each.version for each in plugins}}
