"""What a comparison needs beside the packages that training needs."""

from __future__ import annotations

import importlib.util

from lrtrain.errors import UsageError

_PACKAGES = ("plotly",)


def check_extras() -> None:
    """Raises UsageError, before anything is trained, when a package is missing that the end will need."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"a comparison needs {' and '.join(missing)}: run `pip install 'lrtrain[compare]'`")
