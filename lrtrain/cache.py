"""Where lrtrain keeps what it can make again: prepared data sets, decoded arrays, compiled programs."""

from __future__ import annotations

import hashlib
import os
import platform
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


def processor_id() -> str:
    """Returns a short name that processors with the same instructions share."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        said = "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    except OSError:
        said = f"{platform.machine()} {platform.processor()}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]
