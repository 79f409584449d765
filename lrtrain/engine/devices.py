"""The devices that a run uses, on CPU one for each core that the process may use; and what fits in their memory."""

from __future__ import annotations

import functools
import logging
import math
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lrtrain.cache import cache_dir, processor_id
from lrtrain.errors import UsageError
from lrtrain.host import host_memory, usable_cores

if TYPE_CHECKING:
    import jax

_LOG = logging.getLogger(__name__)
_EXAMPLES_PER_CORE = 16
# Of the memory; the rest is for the network, its activations, the test set, and other programs.
_SHARE_OF_DATA = 0.5
# While a data set is loaded, the host has the bytes of the file and the array.
_COPIES_OF_THE_HOST = 2


def select_devices(requested: int | None, batch_size: int | None, *, distributed: bool = False) -> list[jax.Device]:
    """Chooses the devices of a run; call it before JAX is used for anything else.

    On CPU, JAX is told to present one device for each usable core, but no more than one for 16 examples of a batch. If
    JAX has started already (in a notebook, say), its devices are used. All that are returned are of one kind.

    Args:
      requested: how many the user asked for, of each process if ``distributed``; None for the best number.
      batch_size: examples in a step that the devices share; None when each does steps of its own.
      distributed: whether the devices of all processes are wanted, not only those of this one.

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
    """Has JAX start with the CPU devices that `select_devices` chooses from; returns False if it is too late.

    A number that the user has set already stays.
    """
    import jax

    by_flag = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if by_flag or jax.config.values["jax_num_cpu_devices"] != -1:
        return True
    try:
        jax.config.update("jax_num_cpu_devices", max(1, min(usable_cores(), requested or _wanted(batch_size))))
    except RuntimeError:  # JAX has started
        return False
    return True


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
        "JAX was in use before lrtrain, which therefore trains on its %d CPU device(s) and not on every core", count
    )


def fits(size: int, devices: Sequence[jax.Device]) -> bool:
    """Returns whether a training set, of some bytes of decoded images, can be kept on devices of one kind.

    Every device holds a copy, and the host holds some while it loads them. The devices of a CPU share the memory of the
    host; an accelerator may not say what it has.
    """
    on_cpu = devices[0].platform == "cpu"
    copies = _COPIES_OF_THE_HOST + (len(devices) if on_cpu else 0)
    stats = [] if on_cpu else [device.memory_stats() or {} for device in devices]
    smallest: float = min((each.get("bytes_limit", math.inf) for each in stats), default=math.inf)
    return copies * size <= _SHARE_OF_DATA * host_memory() and size <= _SHARE_OF_DATA * smallest


def keep_compiled() -> None:
    """Has JAX keep compiled programs for later processes; does nothing if the caller has already imported JAX.

    XLA:CPU could no longer be kept from writing long lines to stderr then.
    """
    if "jax" in sys.modules:
        return
    # XLA:CPU takes its own tuning hints (+prefer-no-gather) for features that this machine lacks, and says so in long
    # lines on stderr whenever it loads a program that it compiled on the same machine. Real failures still reach Python
    # as exceptions. JAX sets "1" when it is imported; another value is the user's own, and stays.
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import jax

    # A home directory may be shared by machines of different kinds, and what is compiled for one can crash on another.
    jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "compiled" / processor_id()))
    # Small programs are kept too: compiling them one by one takes most of a warm start.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def chooses_command_buffers() -> bool:
    """Returns whether lrtrain chooses XLA's command buffers, which the user may have done with ``XLA_FLAGS``."""
    return "xla_gpu_enable_command_buffer" not in os.environ.get("XLA_FLAGS", "")
