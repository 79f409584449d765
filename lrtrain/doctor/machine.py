"""Devices, what they compute, and room on the disks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from lrtrain.cache import cache_dir
from lrtrain.doctor.finding import Finding
from lrtrain.errors import LrtrainError
from lrtrain.host import usable_cores

# A run of ten epochs leaves some 10 MB, a prepared Fashion-MNIST in two forms 100.
_LEAST_ROOM = 2**30
_VARIABLES = ("LRTRAIN_", "JAX_", "XLA_", "TFDS_", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")


def examine_environment() -> Iterator[Finding]:
    """Shows the variables of the environment that change what lrtrain does."""
    values = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES)]
    yield Finding("environment", "ok", ", ".join(values) or "no variable is set that lrtrain or JAX reads")


def examine_devices() -> Iterator[Finding]:
    """Starts JAX as a run would."""
    from lrtrain.engine.devices import select_devices

    try:
        devices = select_devices(None, None)
    except (RuntimeError, LrtrainError) as error:
        yield Finding("devices", "fault", f"JAX finds none: {error}", "JAX_PLATFORMS=cpu trains on the CPU")
        return
    kinds = " and ".join(sorted({device.device_kind for device in devices}))
    yield Finding("devices", "ok", f"{len(devices)} x {kinds}, {usable_cores()} usable cores")


def examine_numbers() -> Iterator[Finding]:
    """Computes a sum that a miscompiling jaxlib gets wrong."""
    from lrtrain.engine.canary import find_problem

    problem = find_problem()
    if problem is None:
        yield Finding("numbers", "ok", "a sum that jaxlib 0.10.2 gets wrong is right")
    else:
        yield Finding("numbers", "fault", problem.fault, problem.cure)


def examine_cache() -> Iterator[Finding]:
    """Looks at what lrtrain keeps in its cache directory, and whether it can."""
    directory = cache_dir()
    cure = "set LRTRAIN_CACHE_DIR to a directory that can be written"
    if not _can_write(directory):
        yield Finding("cache", "fault", f"{directory} cannot be written", cure)
        return
    parts = [f"{path.name} {_megabytes(_size(path))}" for path in _folders(directory)]
    kept = ", ".join(parts) or "empty"
    yield Finding("cache", "ok", f"{directory}: {kept} (may be deleted at any time)")
    yield from _examine_room("room for the cache", directory)


def examine_room() -> Iterator[Finding]:
    """Looks at the disk that runs are written to when no directory is given."""
    yield from _examine_room("room for runs", Path("runs").absolute())


def _examine_room(subject: str, directory: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(_existing(directory)).free
    if free < _LEAST_ROOM:
        cure = "make room, or choose another disk with --run-dir and LRTRAIN_CACHE_DIR"
        yield Finding(subject, "fault", f"{_megabytes(free)} free on the disk of {directory}", cure)
    else:
        yield Finding(subject, "ok", f"{free / 2**30:.0f} GiB free on the disk of {directory}")


def _can_write(directory: Path) -> bool:
    return os.access(_existing(directory), os.W_OK | os.X_OK) and _existing(directory).is_dir()


def _existing(directory: Path) -> Path:
    """Returns the directory, or the nearest one above it that is there."""
    return next(path for path in [directory, *directory.parents] if path.exists())


def _folders(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file() and not path.is_symlink())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
