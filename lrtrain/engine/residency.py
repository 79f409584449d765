"""Whether a training set fits on the devices, or is streamed to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lrtrain.host import host_memory

if TYPE_CHECKING:
    import jax

# The rest is for the network, its activations, the test set, and other programs.
_SHARE = 0.5
# While a data set is loaded, the host has the bytes of the file and the array.
_COPIES_OF_THE_HOST = 2


def fits(size: int, devices: Sequence[jax.Device]) -> bool:
    """Returns whether a training set can be kept on the devices.

    Args:
      size: bytes of its decoded images. Every device holds a copy, and the host holds some while it loads them.
      devices: devices of one kind. Those of a CPU share the memory of the host.
    """
    on_cpu = devices[0].platform == "cpu"
    copies = _COPIES_OF_THE_HOST + (len(devices) if on_cpu else 0)
    return copies * size <= _SHARE * host_memory() and (on_cpu or size <= _SHARE * min(map(_device_memory, devices)))


def _device_memory(device: jax.Device) -> float:
    """Returns the bytes of memory of an accelerator, infinity if it does not say."""
    return float((device.memory_stats() or {}).get("bytes_limit", math.inf))
