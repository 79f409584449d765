"""What of this machine the process may use: its cores and its memory."""

from __future__ import annotations

import math
import os
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Counts the cores that this process may use: those of its affinity mask, but no more than its cgroup's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _quota(cgroup))))


def _quota(cgroup: Path) -> float:
    """Returns the quota in cores of version 2 or 1 of the control groups, infinity if there is none."""
    try:
        limit, length = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        return math.inf if limit == "max" else int(limit) / int(length)
    except (OSError, ValueError):
        pass
    try:
        quota = int((cgroup / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period = int((cgroup / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii"))
        return quota / period if quota > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def host_memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> float:
    """Returns the bytes of memory that this process may still take, infinity where the system does not say."""
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
