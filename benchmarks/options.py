"""The options of the benchmark, and the environment of its processes."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

_START = time.perf_counter()


@dataclass(frozen=True)
class Options:
    """How to measure.

    Args:
      directory: for files; removed at the end.
      rounds: how often everything is timed.
      examples: of the training set.
      quick: whether fewer rows are measured.
    """

    directory: Path
    rounds: int
    examples: int
    quick: bool

    @property
    def few(self) -> int:
        """The number of rounds where each takes a whole run."""
        return 1 if self.quick else max(2, self.rounds // 2)

    def progress(self, text: str) -> None:
        """Prints what is being done, and the time since the start."""
        print(f"{time.perf_counter() - _START:6.0f} s  {text} ...", file=sys.stderr, flush=True)


def jax_platform() -> str:
    """Returns where everything is measured: the CPU, or what ``JAX_PLATFORMS`` says, such as ``cuda``."""
    return os.environ.get("JAX_PLATFORMS") or "cpu"


def environment(directory: Path, **others: str) -> dict[str, str]:
    """Returns the environment of a process: caches of the benchmark's own, bytecode as usual, JAX on `jax_platform`."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # The competitors share an accelerator, of which JAX would take three quarters for the first one.
    kept.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    kept["JAX_PLATFORMS"] = jax_platform()
    return {**kept, "LRTRAIN_CACHE_DIR": str(directory / "cache"), **others}
