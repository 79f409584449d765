"""What the suite needs beside the packages that training needs."""

from __future__ import annotations

import importlib.util

PACKAGES = ("pytest", "hypothesis")


def missing() -> list[str]:
    """Returns which of them are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def check_extras() -> None:
    """Raises ImportError, in one sentence, when a package is missing."""
    if absent := missing():
        raise ImportError(f"lrtrain.testing needs {' and '.join(absent)}: run `pip install 'lrtrain[testing]'`")
