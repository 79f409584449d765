"""The machine and the versions that figures belong to."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.options import ROOT, jax_platform
from lrtrain.host import usable_cores

_PACKAGES = ("lrtrain", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "torch", "keras")
_CPU = Path("/sys/devices/system/cpu/cpu0/cache")


def describe() -> dict[str, str]:
    """Returns the facts about the machine, by name, without those that are not known."""
    described = {
        "processor": processor(),
        "accelerator": accelerator(),
        "cores": f"{usable_cores()} usable of {os.cpu_count()}",
        "caches": caches(),
        "memory": memory(),
        "load": load(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(versions()),
        "commit": commit(),
    }
    return {name: value for name, value in described.items() if value}


def processor() -> str:
    """Returns its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def accelerator() -> str:
    """Returns the devices that JAX shows, if they are not the CPU's; asked in a process that then releases them."""
    if jax_platform() == "cpu":
        return ""
    code = "import jax; print(len(jax.devices()), 'x', jax.devices()[0].device_kind)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def caches(directory: Path = _CPU) -> str:
    """Returns the caches of the first core."""
    found = []
    for index in sorted(directory.glob("index*")):
        level, kind, size = ((index / name).read_text(encoding="ascii").strip() for name in ("level", "type", "size"))
        found.append(f"L{level} {kind.lower()} {size}")
    return ", ".join(found)


def memory() -> str:
    """Returns how much there is."""
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (OSError, ValueError, AttributeError):
        return ""


def load() -> str:
    """Returns how busy the machine was before anything was measured."""
    try:
        return "{:.1f} in the last minute, {:.1f} in fifteen, before the first measurement".format(
            *(os.getloadavg()[i] for i in (0, 2))
        )
    except (OSError, AttributeError):
        return ""


def versions() -> list[str]:
    """Returns the packages that are installed, with their versions."""
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Returns the commit that is checked out, and whether there are changes."""
    try:
        return _git("rev-parse", "--short=12", "HEAD") + (" with changes" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()
