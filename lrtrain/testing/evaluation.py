"""Evaluating many schedules at once: as for the table of a run, and as in a user's own loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrain.plugins.context import Schedule
from lrtrain.schedules.table import host_device
from lrtrain.testing.families import families

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AT_ONCE = 512
# An operation is compiled for each number of schedules that are evaluated at once: few are sooner evaluated in turn.
_FEW = 64


def exact_values(schedules: Sequence[Schedule], steps: int) -> list[NDArray[np.float64]]:
    """Returns each schedule at steps 0 to ``steps - 1`` in float64, operation by operation, as for a table."""
    import jax

    found: dict[int, NDArray[np.float64]] = {}
    with jax.enable_x64(True), jax.default_device(host_device()):
        for family in families(schedules, np.int64) if len(schedules) > _FEW else []:
            values = np.asarray(family.values(np.arange(steps)), np.float64)
            found.update(zip(family.places, values, strict=True))
    return [found[place] if place in found else _exact(built, steps) for place, built in enumerate(schedules)]


def compiled_values(schedules: Sequence[Schedule], steps: int) -> dict[int, NDArray[np.float32]]:
    """Returns the values at steps 0 to ``steps - 1`` in float32, compiled, of each schedule that JAX can trace."""
    import jax

    groups = families(schedules, np.int32)

    def together(counts: Any) -> list[Any]:
        return [family.values(counts) for family in groups]

    # LLVM's slowest passes change no value, and make nothing faster here: the loops are short.
    options: dict[str, str | bool] = (
        {"xla_llvm_disable_expensive_passes": True} if jax.default_backend() == "cpu" else {}
    )
    counts = np.arange(steps, dtype=np.int32)
    compiled = jax.jit(together).lower(counts).compile(compiler_options=options)
    values = [np.asarray(each, np.float32) for each in compiled(counts)]
    return {
        place: row
        for family, rows in zip(groups, values, strict=True)
        for place, row in zip(family.places, rows, strict=True)
    }


def is_traceable(built: Schedule) -> bool:
    """Returns whether JAX can trace a schedule; one in plain Python is looked up in its table, also by JAX."""
    return equations(built) is not None


def equations(built: Schedule) -> int | None:
    """Returns the number of operations of a schedule, those inside others included; None for one in plain Python."""
    trace = program(built)
    return None if trace is None else trace[0].count(" = ")


def program(built: Schedule) -> tuple[str, bytes] | None:
    """Returns what a schedule computes, as text with all its numbers; one program means the same values."""
    import jax

    with jax.enable_x64(True):
        try:
            traced = jax.make_jaxpr(built)(np.int64(0))
        except Exception:  # noqa: BLE001  # plain Python
            return None
    arrays = b"".join(np.asarray(each).tobytes() for each in traced.consts)
    return str(traced), arrays


def same(one: Schedule, other: Schedule, steps: int) -> bool:
    """Returns whether two schedules have the same values at steps 0 to ``steps - 1``."""
    first, second = program(one), program(other)
    if first is not None and first == second:
        return True
    values = exact_values([one, other], steps)
    return bool(np.array_equal(values[0], values[1], equal_nan=True))


def _exact(built: Schedule, steps: int) -> NDArray[np.float64]:
    import jax

    with jax.enable_x64(True), jax.default_device(host_device()):
        try:
            values = np.asarray(mapped(built, steps, np.int64), np.float64)
        except Exception:  # noqa: BLE001  # plain Python
            values = np.array([float(built(step)) for step in range(steps)])
    return np.broadcast_to(values, (steps,))


def mapped(built: Schedule, steps: int, kind: type[np.integer[Any]]) -> NDArray[Any]:
    """Returns a schedule at steps 0 to ``steps - 1``, of that type, operation by operation."""
    import jax

    # Every operation is compiled for each length of its arrays, so most have the same one.
    counts = np.arange(-(-steps // _AT_ONCE) * _AT_ONCE, dtype=kind)
    return np.broadcast_to(np.asarray(jax.vmap(built)(counts)), counts.shape)[:steps]
