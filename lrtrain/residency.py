"""Whether a training set is kept on the devices, or streamed to them because it does not fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jax

# The rest is for the network, its activations, the test set, and whatever else runs.
_SHARE = 0.5
# While arrays are loaded there are the bytes of the file and the array.
_COPIES_OF_THE_HOST = 2
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def fits(size: int, devices: Sequence[jax.Device]) -> bool:
    """Tells whether a training set can be kept on the devices.

    Args:
        size: Bytes of its decoded images. Every device holds a copy, and the host holds some while it loads them.
        devices: Devices of one kind. Those of a CPU share the memory of the host.
    """
    on_cpu = devices[0].platform == "cpu"
    copies = _COPIES_OF_THE_HOST + (len(devices) if on_cpu else 0)
    return copies * size <= _SHARE * host_memory() and (on_cpu or size <= _SHARE * min(map(_device_memory, devices)))


def _device_memory(device: jax.Device) -> float:
    """Returns the bytes of memory of an accelerator, infinity if it does not say."""
    return float((device.memory_stats() or {}).get("bytes_limit", math.inf))


def host_memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> float:
    """Returns the bytes of memory that this process may still take, infinity where the system does not say.

    Args:
        meminfo: Where Linux says how much is available.
        cgroup: Where the control groups are mounted; their limit holds too.
    """
    return min(_available(meminfo), _limit(cgroup / "memory.max"), _limit(cgroup / "memory" / "memory.limit_in_bytes"))


def _available(meminfo: Path) -> float:
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        return next((float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), math.inf)
    except (OSError, ValueError, IndexError):
        return math.inf


def _limit(file: Path) -> float:
    try:
        return float(file.read_text(encoding="ascii").replace("max", "inf"))
    except (OSError, ValueError):
        return math.inf
