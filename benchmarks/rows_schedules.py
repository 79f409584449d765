"""Several schedules in one process: all share one compiled step, so each but the first costs its training alone."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.options import ROOT, Options, environment
from benchmarks.table import Row, Table
from benchmarks.targets import Measured

_EXAMPLES = 2_560
_COUNTS = (1, 5, 15)
_SPECS = (
    "constant",
    "cosine-decay",
    "cosine-onecycle",
    "exponential-decay",
    "join(schedules=[constant, linear], boundaries=[50%])",
    "linear",
    "linear-onecycle",
    "piecewise-constant",
    "piecewise-interpolate",
    "polynomial",
    "sgdr",
    "warmup-constant",
    "warmup-cosine-decay",
    "warmup-exponential-decay",
    "wsd",
)


def measure(options: Options) -> Measured:
    """Times a process with all schedules, and notes when the first ones were done."""
    values: dict[int, list[float]] = {count: [] for count in _COUNTS}
    for _ in range(options.few):
        options.progress(f"{_COUNTS[-1]} schedules in one process")
        done = _run(options, _COUNTS[-1])
        for count in _COUNTS:
            values[count].append(done[count - 1])
    rows = [Row(_name(count), each, f"{each[-1] / count:.2f} s each") for count, each in values.items()]
    about = (
        f"`lrtrain.train` for one schedule after another in one process, one epoch of {_EXAMPLES} examples each with "
        "evaluation, checkpoint, picture and logs, from the start of Python's work to the end of the last run; the "
        "compiled programs are not in the cache."
    )
    return Measured([Table("Schedules compared", "s", rows, about, rows[0].name)])


def _name(count: int) -> str:
    return f"{count} schedule{'s' if count > 1 else ''}"


def _run(options: Options, count: int) -> list[float]:
    """Returns when each run was done, in seconds."""
    command = (sys.executable, "-m", "benchmarks.sequence", str(options.directory), str(_EXAMPLES), *_SPECS[:count])
    kept = environment(options.directory, JAX_ENABLE_COMPILATION_CACHE="false")
    done = subprocess.run(command, check=True, cwd=ROOT, env=kept, stdout=subprocess.PIPE, text=True)
    return [float(line) for line in done.stdout.splitlines()]
