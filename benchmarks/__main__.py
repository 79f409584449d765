"""``python -m benchmarks``: measures everything, prints it, and writes ``benchmarks/RESULTS.md``.

With ``JAX_PLATFORMS=cuda`` it measures on a GPU and writes ``benchmarks/RESULTS-cuda.md``.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.hardware import describe
from benchmarks.options import ROOT, Options, jax_platform
from benchmarks.problem import ALL_EXAMPLES
from benchmarks.results import Results, write
from benchmarks.table import Row, Table
from benchmarks.targets import Measured
from benchmarks.workers import log_of, prepare

# Each is a module `rows_NAME` with a function `measure(options)`.
GROUPS = (
    "steps",
    "workloads",
    "networks",
    "overhead",
    "start",
    "checkpoint",
    "devices",
    "evaluation",
    "population",
    "streaming",
    "data_size",
    "schedules",
)
_TAKE_WHOLE_RUNS = ("data_size", "schedules")
_QUICK_EXAMPLES = 5_120
_FAILURES = (OSError, RuntimeError, ValueError, subprocess.SubprocessError)
_RESULTS = ROOT / "benchmarks" / ("RESULTS.md" if jax_platform() == "cpu" else f"RESULTS-{jax_platform()}.md")


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument("--rounds", type=_positive, help="how often everything is timed; 5, with --quick 2")
    made.add_argument("--only", nargs="+", choices=GROUPS, metavar="NAME", help=f"of {', '.join(GROUPS)}")
    made.add_argument("--quick", action="store_true", help="short epochs and fewer rows: to see that it works")
    made.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"written after each group; default: {_RESULTS.relative_to(ROOT)} at the end, nothing with --quick or "
        "--only",
    )
    return made


def main(arguments: Sequence[str]) -> int:
    """Measures; returns the exit status, which does not depend on the targets."""
    given = parser().parse_args(arguments)
    machine = describe()
    with tempfile.TemporaryDirectory(prefix="lrtrain-benchmarks-") as directory:
        options = Options(
            directory=Path(directory),
            rounds=given.rounds or (2 if given.quick else 5),
            examples=_QUICK_EXAMPLES if given.quick else ALL_EXAMPLES,
            quick=given.quick,
        )
        options.progress("preparing the data")
        prepare(options)
        measured: list[Measured] = []
        for name in given.only or _default_groups(options):
            measured.append(_measured(name, options))
            page = _page(measured, machine, ["python", "-m", "benchmarks", *arguments], given.output or _RESULTS)
            if given.output is not None:
                write(given.output, page)
    print(page, end="")
    output = given.output or (None if given.quick or given.only else _RESULTS)
    if output is not None:
        write(output, page)
        print(f"written to {output}", file=sys.stderr)
    return 0


def _page(measured: Sequence[Measured], machine: Mapping[str, str], command: Sequence[str], output: Path) -> str:
    """Returns the page of what has been measured so far; ``output`` is its file."""
    on_cpu = jax_platform() == "cpu"
    return Results(
        datetime.date.today().isoformat(),
        shlex.join(command),
        machine,
        [table for each in measured for table in each.tables],
        [target for each in measured for target in (each.targets if on_cpu else each.on_accelerator)],
        _elsewhere(output),
    ).markdown()


def _elsewhere(output: Path) -> str:
    """Returns a sentence on where the figures are that are not in the file ``output``."""
    others = [path.name for path in sorted(_RESULTS.parent.glob("RESULTS*.md")) if path.name != output.name]
    return f"Other results: {', '.join(f'[{name}]({name})' for name in others)}." if others else ""


def _default_groups(options: Options) -> list[str]:
    return [name for name in GROUPS if not (options.quick and name in _TAKE_WHOLE_RUNS)]


def _measured(group: str, options: Options) -> Measured:
    """Measures a group of rows; if that fails, the others still have their figures."""
    print(f"{group}:", file=sys.stderr, flush=True)
    module = importlib.import_module(f"benchmarks.rows_{group}")
    try:
        measured: Measured = module.measure(options)
    except _FAILURES as error:
        sys.stderr.write(log_of(options.directory) + traceback.format_exc())
        about = (module.__doc__ or "").strip()
        return Measured([Table(f"Group {group}", "", [Row("failed", note=" ".join(str(error).split()))], about)])
    return measured


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is refused: at least 1 round")
    return value


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("interrupted: only a file named with --output has what was measured so far")
