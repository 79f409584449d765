"""Command buffers on NVIDIA GPUs: XLA launches many operations at once, here those of loops and convolutions too."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, TypeAlias

import jax
import numpy as np
from jax import lax

if TYPE_CHECKING:
    from collections.abc import Iterable

_LOG = logging.getLogger(__name__)

Options: TypeAlias = "dict[str, str | int | bool | float]"
"""Options of XLA's compiler, as `jax.jit` takes them."""

# As an option of a program, unlike as a flag, this replaces XLA's own kinds and has no `+WHILE`: so those of jax 0.10.1
# are named here too.
_KINDS = "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,DYNAMIC_SLICE_FUSION,CONVOLUTION,WHILE,CONDITIONAL"
# jax 0.12 has one more by default, which 0.10.1 refuses; where neither is known, XLA's own stay.
CUDA_OPTIONS: tuple[Options, ...] = tuple(
    {"xla_gpu_enable_command_buffer": kinds} for kinds in (f"{_KINDS},COLLECTIVES_KERNEL", _KINDS)
)


@functools.cache
def command_buffer_options(platform: str) -> Options | None:
    """Returns the options with which loops and convolutions are in command buffers; None on other devices than CUDA's.

    On ROCm a loop in a command buffer has crashed (EnzymeAD/Reactant.jl#3175).
    """
    device = jax.local_devices(backend=platform)[0]
    return first_accepted(CUDA_OPTIONS, device) if "cuda" in device.client.platform_version.lower() else None


def first_accepted(candidates: Iterable[Options], device: jax.Device) -> Options | None:
    """Returns the first options with which a small loop compiles and runs; None, with a warning, if there are none."""
    refusal: Exception | None = None
    for options in candidates:
        try:
            _run_a_loop(options, device)
        except jax.errors.JaxRuntimeError as error:
            refusal = error
        else:
            return options
    reason = str(refusal).partition("\n")[0]
    _LOG.warning("%s runs loops without command buffers, which may take longer (%s)", device.device_kind, reason)
    return None


def _run_a_loop(options: Options, device: jax.Device) -> None:
    """Runs a loop whose length is data, as that of a chunk is, in a command buffer however short it is."""
    loop = jax.jit(
        lambda number: lax.fori_loop(0, number, lambda _, value: value + number, number),
        compiler_options={**options, "xla_gpu_graph_min_graph_size": 1},
    )
    loop(jax.device_put(np.int32(2), device)).block_until_ready()
