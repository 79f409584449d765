"""Starts: the command line's answer, the time to the first step, and the memory of a run."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.options import Options
from benchmarks.processes import LRTRAIN, first_step, run
from benchmarks.table import Row, Table
from benchmarks.targets import Measured, at_most

_PYTHON, _HELP, _LIST = "python -c pass", "lrtrain --help", "lrtrain plugins list"
_COMMANDS = {
    _PYTHON: (sys.executable, "-c", "pass"),
    _HELP: (*LRTRAIN, "--help"),
    _LIST: (*LRTRAIN, "plugins", "list"),
}
_COLD, _WARM = "first step, cold", "first step, warm"


def measure(options: Options) -> Measured:
    """Times commands, first steps, and takes the memory of a run."""
    commands, steps, memory = _commands(options), _first_steps(options), _memory(options)
    targets = [
        at_most(_HELP, commands.median(_HELP), 0.25, "s"),
        at_most(_LIST, commands.median(_LIST), 0.4, "s"),
        at_most("from the command to the end of the first step, warm", steps.median(_WARM), 3, "s"),
        at_most("peak memory of a run", None if options.quick else memory.rows[0].values[0], 1.2, "GiB"),
    ]
    return Measured([commands, steps, memory], targets)


def _commands(options: Options) -> Table:
    options.progress("starting commands")
    for command in _COMMANDS.values():
        run(options, *command)
    values: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    for _ in range(2 * options.rounds):
        for name, command in _COMMANDS.items():
            values[name].append(run(options, *command).seconds)
    about = "From the start of the process to its end, in turn, after one start of each."
    return Table("Commands", "s", [Row(name, each) for name, each in values.items()], about, _PYTHON)


def _first_steps(options: Options) -> Table:
    options.progress("starting runs, with an empty cache and with a filled one")
    cold, warm = [], []
    for _ in range(options.few):
        cache = Path(tempfile.mkdtemp(dir=options.directory))
        cold.append(first_step(options, cache))
        # Once more, not measured: it completes what the first run was still writing when it was ended.
        first_step(options, cache)
        warm += [first_step(options, cache) for _ in range(2)]
        shutil.rmtree(cache)
    about = (
        "From the start of `lrtrain --plugin constant` to the end of its first optimizer update. Cold: the cache "
        "directory is empty, so Fashion-MNIST is prepared and everything is compiled; imported modules have bytecode. "
        "Warm: the same command again. Steps are logged in chunks; the first one's end is its chunk's, less the other "
        "steps of the chunk at the rate of the next one."
    )
    return Table("Time to the first step", "s", [Row(_COLD, cold), Row(_WARM, warm)], about)


def _memory(options: Options) -> Table:
    options.progress("running an epoch for its memory")
    run_dir = tempfile.mkdtemp(dir=options.directory)
    command = (*LRTRAIN, "--plugin=constant", "--epochs=1", f"--train-size={options.examples}", f"--run-dir={run_dir}")
    peak = run(options, *command).peak_bytes / 2**30
    about = (
        f"The most that the process had resident over an epoch of {options.examples} examples with its evaluation and "
        "checkpoint."
    )
    return Table("Peak memory", "GiB", [Row("lrtrain --plugin constant", [peak])], about)
