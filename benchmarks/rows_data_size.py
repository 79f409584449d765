"""The time of a whole run, by the number of its examples."""

from __future__ import annotations

import tempfile

from benchmarks.options import Options
from benchmarks.problem import ALL_EXAMPLES
from benchmarks.processes import LRTRAIN, run
from benchmarks.table import Row, Table
from benchmarks.targets import Measured

_SMALL = 6_000


def measure(options: Options) -> Measured:
    """Times runs of one epoch; the first of each fills the cache."""
    options.progress("runs of one epoch, by size")
    sizes = [_SMALL, ALL_EXAMPLES]
    values: dict[int, list[float]] = {size: [] for size in sizes}
    for number in range(options.few + 1):
        for size in sizes:
            seconds = _run(options, size)
            # A compiled program is for one size, and the first run of each size compiles.
            values[size] += [seconds] if number else []
    rows = [Row(f"{size} examples", each) for size, each in values.items()]
    about = (
        "`lrtrain --plugin constant --epochs 1 --train-size N`, the whole process: start, training, evaluation, files."
    )
    return Measured([Table("A run by its size", "s", rows, about, rows[0].name)])


def _run(options: Options, size: int) -> float:
    run_dir = tempfile.mkdtemp(dir=options.directory)
    command = (*LRTRAIN, "--plugin=constant", "--epochs=1", f"--train-size={size}", f"--run-dir={run_dir}")
    return run(options, *command).seconds
