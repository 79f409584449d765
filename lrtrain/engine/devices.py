"""The devices that a run uses: on CPU one for each core that the process may use."""

from __future__ import annotations

import functools
import logging
import os
from typing import TYPE_CHECKING

from lrtrain.errors import UsageError
from lrtrain.host import usable_cores

if TYPE_CHECKING:
    import jax

_LOG = logging.getLogger(__name__)
_EXAMPLES_PER_CORE = 16


def select_devices(requested: int | None, batch_size: int | None, *, distributed: bool = False) -> list[jax.Device]:
    """Chooses the devices of a run; call it before JAX is used for anything else.

    On CPU, JAX is told to present one device for each usable core, but no more than one for 16 examples of a batch. If
    JAX has started already (in a notebook, say), its devices are used.

    Args:
      requested: number of devices that the user asked for, or None for the best number; in a distributed run, of each
        process.
      batch_size: examples in a step that the devices share; None when each does steps of its own.
      distributed: whether the devices of all processes are wanted, not only those of this one.

    Returns:
      The devices, at least one, all of one kind.

    Raises:
      UsageError: more devices are requested than there are.
    """
    import jax

    too_late = not present_devices(requested, batch_size)
    cores, wanted = usable_cores(), _wanted(batch_size)
    devices: list[jax.Device] = jax.local_devices()
    if requested is not None and not 1 <= requested <= len(devices):
        raise UsageError(f"--devices {requested}: there are {len(devices)} devices of kind {devices[0].device_kind}")
    if distributed:
        return _of_each_process(jax.devices(), requested)
    on_cpu = devices[0].platform == "cpu"
    chosen = devices[: requested or (wanted if on_cpu else len(devices))]
    if too_late and on_cpu and len(chosen) < (requested or min(cores, wanted)):
        _warn_that_jax_had_started(len(chosen))
    return chosen


def present_devices(requested: int | None, batch_size: int | None) -> bool:
    """Has JAX start with the CPU devices that `select_devices` chooses from; returns False if it is too late."""
    return _present_cpu_devices(min(usable_cores(), requested or _wanted(batch_size)))


def _wanted(batch_size: int | None) -> int:
    return usable_cores() if batch_size is None else max(1, batch_size // _EXAMPLES_PER_CORE)


def _of_each_process(devices: list[jax.Device], requested: int | None) -> list[jax.Device]:
    """Returns the first ``requested`` devices of each process, or all."""
    by_process: dict[int, list[jax.Device]] = {}
    for device in devices:
        by_process.setdefault(device.process_index, []).append(device)
    counts = sorted({len(own) for own in by_process.values()})
    if len(counts) > 1:
        # Orbax synchronises by JAX's multihost_utils, which needs that.
        raise UsageError(
            f"the processes have from {counts[0]} to {counts[-1]} devices, and a distributed run needs equally many in "
            "each: give --devices N"
        )
    return [device for process in sorted(by_process) for device in by_process[process][:requested]]


@functools.cache
def _warn_that_jax_had_started(count: int) -> None:
    _LOG.warning(
        "JAX was in use before lrtrain, which therefore trains on its %d CPU device(s) and not on every core",
        count,
    )


def _present_cpu_devices(count: int) -> bool:
    """Tells JAX to present ``count`` CPU devices, unless a number is set already; returns False if it is too late."""
    import jax

    by_flag = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if by_flag or jax.config.values["jax_num_cpu_devices"] != -1:
        return True
    try:
        jax.config.update("jax_num_cpu_devices", max(1, count))
    except RuntimeError:  # JAX has started
        return False
    return True


def enable_compilation_cache(path: str | os.PathLike[str]) -> None:
    """Has JAX keep compiled programs in a directory, for the next process.

    Best called before JAX is imported: later, XLA:CPU can no longer be kept from writing long lines to stderr.

    Args:
      path: the directory; JAX makes it.
    """
    # XLA:CPU takes its own tuning hints (+prefer-no-gather) for features that this machine lacks, and says so in long
    # lines on stderr whenever it loads a program that it compiled on the same machine. Real failures still reach Python
    # as exceptions. JAX sets "1" when it is imported; another value is the user's own, and stays.
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import jax

    jax.config.update("jax_compilation_cache_dir", os.fspath(path))
    # Small programs are kept too: compiling them one by one takes most of a warm start.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
