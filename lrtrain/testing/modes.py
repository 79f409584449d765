"""Checks that a schedule gives the same learning rates in whatever way it is called."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrain.plugins.spec import Spec
from lrtrain.testing.evaluation import is_traceable
from lrtrain.testing.failure import fail, require
from lrtrain.testing.subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MANY = 2350


def same_eager_compiled_and_mapped(subject: Subject) -> None:
    """Called one by one, under jit and under vmap, it gives what its table says."""
    import jax

    for spec, total_steps in subject.looked_at():
        rate = subject.rate(spec, total_steps)
        table, steps = subject.table(spec, total_steps), min(total_steps, _MANY)
        counts = np.arange(steps)
        for count in sorted({0, steps // 2, steps - 1}):
            _compare(spec, "called with one count", [rate(count)], table, [count])
        _compare(spec, "compiled with jit", jax.jit(rate)(counts), table, slice(steps))
        _compare(spec, "mapped with vmap", jax.vmap(rate)(counts), table, slice(steps))


def same_for_every_kind_of_count(subject: Subject) -> None:
    """It takes Python's integers, int32 and uint32, and int64 where JAX has 64 bits."""
    import jax

    for spec, total_steps in subject.looked_at():
        rate = subject.rate(spec, total_steps)
        table = subject.table(spec, total_steps)
        for step in sorted({total_steps // 2, total_steps - 1}):
            for kind in (int, np.int32, np.uint32, jax.numpy.int32, jax.numpy.uint32):
                _compare(spec, f"called with {kind.__name__}", [rate(kind(step))], table, [step])
            with jax.enable_x64(True):
                _compare(spec, "called with int64", [rate(np.int64(step))], table, [step])


def traced_once(subject: Subject) -> None:
    """Compiled, it is traced once for all counts; called without jit, it compiles nothing again."""
    import jax

    for spec, total_steps in subject.looked_at():
        built = subject.build(spec, total_steps)
        if not is_traceable(built):
            continue
        traces: list[Any] = []

        def counted(step: Any, built: Any = built, traces: list[Any] = traces) -> Any:
            traces.append(step)
            return built(step)

        compiled = jax.jit(counted)
        compiled(np.int32(0)), compiled(np.int32(1))
        require(len(traces) == 1, f"'{spec}' is traced {len(traces)} times by jit, for two counts: trace it once")
        counts = [jax.numpy.int32(step) for step in range(3)]
        built(counts[0]), built(counts[1])
        with _compilations() as seen:
            built(counts[2])
        for each in seen:
            fail(f"'{spec}' is compiled again for each call without jit ({each}): make its functions in build_schedule")


def _compare(spec: Spec, how: str, got: Any, table: NDArray[np.float32], steps: Sequence[int] | slice) -> None:
    """Compares in float32, whose rounding errors are relative to the highest learning rate, not to each value."""
    values, expected = np.asarray(got, np.float64).reshape(-1), table[steps]
    wrong = ~close(values, expected, highest=float(np.max(table)))
    if wrong.any():
        at = int(np.argmax(wrong))
        step = np.arange(len(table))[steps][at]
        fail(f"'{spec}' {how} gives {values[at]:g} at step {step}, and its table {expected[at]:g}")


def close(
    got: NDArray[Any], expected: NDArray[Any], tolerance: float = 1e-5, highest: float | None = None
) -> NDArray[np.bool_]:
    """Returns where values agree: to 1e-5 of the value, or 1e-7 of the highest one."""
    exact = np.asarray(expected, np.float64)
    scale = np.max(np.abs(exact), initial=0) if highest is None else highest
    allowed = tolerance * np.abs(exact) + tolerance / 100 * scale + np.finfo(np.float32).tiny
    return np.asarray(np.abs(np.asarray(got, np.float64) - exact) <= allowed)


@contextmanager
def _compilations() -> Iterator[list[str]]:
    """Yields a list that receives what JAX compiles while it is open."""
    import jax

    seen: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("jax")
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with jax.log_compiles():
            yield seen
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
        seen[:] = [each for each in seen if "XLA compilation" in each]
