"""Refuses a jaxlib that computes wrong numbers on CPU, as 0.10.2 does (jax-ml/jax#39103)."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lrtrain.cache import cache_dir, processor_id
from lrtrain.errors import UsageError

if TYPE_CHECKING:
    import jax

_BATCH, _ROWS, _COLUMNS = 1024, 1024, 32


def check_jaxlib(devices: Sequence[jax.Device]) -> None:
    """Raises UsageError if a CPU sums wrongly; computed once for each version of jaxlib and each kind of processor.

    No such fault is known of other devices than CPUs.
    """
    passed = passed_file()
    if devices[0].platform != "cpu" or passed.is_file():
        return
    if problem := find_problem():
        raise UsageError("; ".join(problem))
    # If the note cannot be written, the sum is computed again next time.
    with contextlib.suppress(OSError):
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()


def find_problem() -> tuple[str, str] | None:
    """Computes the sum; if it is not right, returns what is wrong with this jaxlib and what to do, else None."""
    got, expected = _sum(), _BATCH * _ROWS * _COLUMNS
    if got == expected:
        return None
    return (
        f"jaxlib {_version()} computes wrong numbers on this machine: a sum of {expected} ones is {got:.0f}",
        "run `pip install 'jax>=0.10.1,!=0.10.2' 'jaxlib>=0.10.1,!=0.10.2'`, or wait for a jaxlib that is fixed",
    )


def passed_file() -> Path:
    """Returns the file that exists if this version has computed the right sum on such a processor."""
    return cache_dir() / "canary" / f"jaxlib-{_version()}-{processor_id()}"


def _version() -> str:
    return importlib.metadata.version("jaxlib")


def _sum() -> float:
    """Returns the sum of a batch of products of a matrix of ones with a vector of ones, compiled as one program."""
    import jax
    import jax.numpy as jnp

    matrices, vectors = jnp.ones((_BATCH, _ROWS, _COLUMNS)), jnp.ones((_BATCH, _COLUMNS))
    return float(jax.jit(lambda a, x: jnp.sum(jax.vmap(jnp.matmul)(a, x)))(matrices, vectors))
