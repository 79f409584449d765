"""Where lrtrain keeps what it can make again: prepared data sets, decoded arrays, compiled programs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Returns the directory for everything that may be deleted at any time.

    It is ``$LRTRAIN_CACHE_DIR`` if that is set and not empty, else the platform's cache directory of the user
    (``~/.cache/lrtrain`` on Linux). The path is absolute; the directory need not exist.
    """
    chosen = os.environ.get("LRTRAIN_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("lrtrain"))
