"""A checksum of a checkpoint's contents: Orbax checks that of some of its files, and not of all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def digest(values: Mapping[str, Any], arrays: Iterable[NDArray[Any]]) -> str:
    """Returns the SHA-256 of JSON values and arrays: of their types, shapes and bytes.

    Args:
      values: what JSON can hold; the same before it is written and after it is read.
      arrays: on the host, in a fixed order.

    Returns:
      64 hexadecimal digits.
    """
    import numpy as np

    total = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for array in arrays:
        total.update(f"{array.dtype}{array.shape}".encode())
        # As bytes, because not every type of JAX has a buffer.
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()
