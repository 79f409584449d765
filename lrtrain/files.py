"""Files that are written whole or not at all, and digests of what they hold."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def has_utf8_name(path: str | Path) -> bool:
    """Returns whether a path can be written as UTF-8, as in JSON; on Linux a name may be any bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def is_path(text: str) -> bool:
    """Returns whether a text is the path of data, and not the name of a data set, such as ``name/config``."""
    return text.startswith((".", "/", "~")) or text.lower().endswith(".npz") or Path(text).is_absolute()


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file so that a reader finds the old content or the new, even after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        # On a full disk it would hold what little room there is.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    """Makes the names in a directory survive a power cut, where the system can."""
    if sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        # Some network file systems refuse it for directories.
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def digest(values: Mapping[str, Any], arrays: Iterable[NDArray[Any]]) -> str:
    """Returns the SHA-256, as 64 digits, of JSON values and arrays on the host: of their types, shapes and bytes."""
    import numpy as np

    total = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for array in arrays:
        total.update(f"{array.dtype}{array.shape}".encode())
        # As bytes, because not every type of JAX has a buffer.
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()
