"""What is examined, in order: Python and packages, devices and numbers, what packages provide, data, and disks."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lrtrain.cache import cache_dir
from lrtrain.errors import LrtrainError, cause
from lrtrain.host import usable_cores

if TYPE_CHECKING:
    from lrtrain.plugins.discovery import Entry

_EXTRAS = {
    "compare": "lrtrain compare and lrtrain report",
    "tfds": "data sets of tensorflow-datasets",
}
_VARIABLES = ("LRTRAIN_", "JAX_", "XLA_", "TFDS_", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
# A run of ten epochs leaves some 10 MB, a prepared Fashion-MNIST in two forms 100.
_LEAST_ROOM = 2**30


@dataclass(frozen=True)
class Finding:
    """One line: a ``note`` is of something that some commands need, a ``fault`` of something that does not work."""

    subject: str
    health: Literal["ok", "note", "fault"]
    detail: str
    cure: str | None = None


def examine() -> Iterator[Finding]:
    """Yields what each examination finds; one that fails is a fault, and the others go on."""
    for examination in _EXAMINATIONS:
        try:
            yield from examination()
        except Exception as error:  # noqa: BLE001  # a broken installation can raise anything; that is what is asked
            subject = examination.__name__.removeprefix("examine_")
            yield Finding(subject, "fault", f"cannot be examined: {cause(error)}")


def examine_python() -> Iterator[Finding]:
    """Looks at the interpreter."""
    yield Finding("Python", "ok", f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}")


def examine_packages() -> Iterator[Finding]:
    """Looks at the versions of all packages that lrtrain needs, and at its extras."""
    yield Finding("lrtrain", "ok", importlib.metadata.version("lrtrain"))
    problems = list(_problems(""))
    yield from problems
    if not problems:
        names = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
        yield Finding("packages", "ok", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names))
    for extra, use in _EXTRAS.items():
        missing = [problem.subject for problem in _problems(extra)]
        if missing:
            cure = f"pip install 'lrtrain[{extra}]'"
            yield Finding(f"extra {extra}", "note", f"{' and '.join(missing)} not there, for {use}", cure)


def _problems(extra: str) -> Iterator[Finding]:
    """Yields what is required, with that extra or without any, and not there."""
    from packaging.requirements import Requirement

    for text in importlib.metadata.requires("lrtrain") or []:
        required = Requirement(text)
        in_extra = required.marker is not None and "extra" in str(required.marker)
        if in_extra != bool(extra) or (required.marker and not required.marker.evaluate({"extra": extra})):
            continue
        cure = f"pip install '{required.name}{required.specifier}'"
        try:
            installed = importlib.metadata.version(required.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(required.name, "fault", "is not installed", cure)
            continue
        if not required.specifier.contains(installed, prereleases=True):
            yield Finding(required.name, "fault", f"is {installed}, and lrtrain needs {required.specifier}", cure)


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
        yield Finding("numbers", "fault", *problem)


def examine_plugins() -> Iterator[Finding]:
    """Imports every plugin; what is wrong with one is what ``lrtrain plugins list --load`` says."""
    from lrtrain.plugins.discovery import GROUP, find_plugins
    from lrtrain.plugins.loading import load_class

    if not find_plugins(GROUP):
        yield Finding("plugins", "fault", "none is installed", "pip install 'lrtrain[all]'")
    yield from _examine_group(GROUP, load_class)


def examine_workloads() -> Iterator[Finding]:
    """Imports every workload; what is wrong with one is what ``lrtrain workloads list`` says."""
    from lrtrain.plugins.discovery import WORKLOADS
    from lrtrain.workloads.loading import check_declared, load_workload_class

    yield from _examine_group(WORKLOADS, lambda entry: check_declared(entry, load_workload_class(entry)))


def examine_optimizers() -> Iterator[Finding]:
    """Imports every optimizer that a package provides."""
    from lrtrain.engine.optimizers import check_optimizer
    from lrtrain.plugins.discovery import OPTIMIZERS

    yield from _examine_group(OPTIMIZERS, check_optimizer)


def _examine_group(group: str, load: Callable[[Entry], object]) -> Iterator[Finding]:
    """Yields what is wrong with the entries of a group, or one line if nothing is; none where there are no entries."""
    from lrtrain.plugins.discovery import WORDS, find_plugins
    from lrtrain.plugins.problems import problems_of

    entries, word = find_plugins(group), WORDS[group]
    found = [(entry, problem) for entry in entries for problem in problems_of(entry, entries, load)]
    for entry, problem in found:
        yield Finding(f"{word} {entry.name}", "fault", problem.text, problem.cure)
    if entries and not found:
        yield Finding(f"{word}s", "ok", f"{len(entries)} installed, and each can be loaded")


def examine_data() -> Iterator[Finding]:
    """Looks for data sets that packages provide, and for those that tensorflow-datasets has prepared."""
    from lrtrain.data import disk, provider
    from lrtrain.data.arrays import cached_train_bytes
    from lrtrain.data.load import find_dataset

    names = provider.provided_names()
    for name in names:
        try:
            source = find_dataset(name)
            entry = provider.find_provider(name)
            origin = provider.owner(entry) if entry else "a package"
            is_ready = cached_train_bytes(source.name, source.key) is not None
        except LrtrainError as error:
            yield Finding(f"data {name}", "fault", str(error), "uninstall the package that provides it, or fix it")
            continue
        when = "ready" if is_ready else "will be prepared when it is first used"
        yield Finding(f"data {name}", "ok", f"of {origin}, {when}")
    if "fashion_mnist" not in names:
        cure = "pip install lrtrain-fashion-mnist"
        yield Finding("data fashion_mnist", "note", "not there, and commands without --dataset need it", cure)
    prepared = disk.prepared_names(disk.tfds_dir())
    yield Finding("data of TFDS", "ok", f"{', '.join(prepared) or 'none'} prepared in {disk.tfds_dir()}")


def examine_cache() -> Iterator[Finding]:
    """Looks at what lrtrain keeps in its cache directory, and whether it can."""
    directory = cache_dir()
    nearest = _existing(directory)
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        cure = "set LRTRAIN_CACHE_DIR to a directory that can be written"
        yield Finding("cache", "fault", f"{directory} cannot be written", cure)
        return
    folders = sorted(path for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []
    kept = ", ".join(f"{path.name} {_megabytes(_size(path))}" for path in folders) or "empty"
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


def _existing(directory: Path) -> Path:
    """Returns the directory, or the nearest one above it that is there."""
    return next(path for path in [directory, *directory.parents] if path.exists())


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file() and not path.is_symlink())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


_EXAMINATIONS: tuple[Callable[[], Iterator[Finding]], ...] = (
    examine_python,
    examine_packages,
    examine_environment,
    examine_devices,
    examine_numbers,
    examine_plugins,
    examine_workloads,
    examine_optimizers,
    examine_data,
    examine_cache,
    examine_room,
)
