"""What tests share: the command ``lrtrain``, what a run has written, runs that die, and processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result

from lrtrain.cli import main
from lrtrain.plugins.context import EpochInfo, StepInfo
from lrtrain.plugins.discovery import GROUP
from lrtrain.training.checkpoints import Checkpoints
from lrtrain.training.position import Position
from lrtrain.training.reporter import NullReporter

ROOT = Path(__file__).parent.parent
SPEC = "sgdr(cycles=2, init_value=0.002, peak_value=0.01, end_value=0.001, warmup_steps=none)"
# What a clock has measured differs from run to run.
CLOCK = ("seconds", "examples_per_second")
PATIENCE = 240
"""Seconds after which a process that a test waits for counts as stuck."""


# --------------------------------------------------------------------------------------------------------- the command


def cli(*arguments: object, **options: Any) -> Result:
    """Runs ``lrtrain`` in this process; the options are those of click's `CliRunner.invoke`."""
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="lrtrain", **options)


def process(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``lrtrain`` in a process of its own, with these variables beside those of the tests."""
    command = [sys.executable, "-m", "lrtrain", *map(str, arguments)]
    given = {**os.environ, **environment}
    return subprocess.run(command, cwd=cwd, env=given, capture_output=True, text=True, check=False, timeout=PATIENCE)


def done(result: Result | subprocess.CompletedProcess[str]) -> str:
    """Returns what a command has printed; it succeeded and wrote nothing to stderr."""
    assert (_code(result), result.stderr) == (0, ""), result.stdout + result.stderr
    return result.stdout


def refusal(result: Result | subprocess.CompletedProcess[str], code: int = 2) -> str:
    """Returns the one sentence that a command ended with; it printed nothing else."""
    assert (_code(result), result.stdout) == (code, ""), result.stdout + result.stderr
    assert result.stderr.startswith("Error: "), result.stderr
    assert result.stderr.index("\n") == len(result.stderr) - 1, f"not one line: {result.stderr}"
    return result.stderr.removeprefix("Error: ").strip()


def completed(words: str, at: int) -> list[str]:
    """Returns what bash offers for the word number ``at`` of a command line."""
    result = cli(env={"_LRTRAIN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)})
    assert result.exit_code == 0
    return [line.partition(",")[2] for line in result.stdout.splitlines()]


def _code(result: Result | subprocess.CompletedProcess[str]) -> int:
    return result.exit_code if isinstance(result, Result) else result.returncode


# ----------------------------------------------------------------------------------------------- what a run has written


def without(value: Any, *names: str) -> Any:
    """Returns a value of JSON without the keys of these names, however deep they lie."""
    if isinstance(value, dict):
        return {key: without(each, *names) for key, each in value.items() if key not in names}
    return [without(each, *names) for each in value] if isinstance(value, list) else value


def metrics(run: Path) -> list[dict[str, Any]]:
    """Returns the lines of ``metrics.jsonl`` without the times of the clock."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [without(json.loads(line), *CLOCK) for line in lines]


def final_state(run: Path) -> Any:
    """Returns the tree of arrays of the last checkpoint, read without any code of lrtrain."""
    import orbax.checkpoint as ocp

    newest = max((run / "checkpoints").glob("step_*"), key=lambda path: int(path.name.removeprefix("step_")))
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(newest / "state")


def last_position(run: Path) -> tuple[Position, np.ndarray]:
    """Returns the position of the last checkpoint and its learning rates, float32[total_steps]."""
    with contextlib.closing(Checkpoints(run / "checkpoints")) as checkpoints:
        step = checkpoints.latest()
        assert step is not None
        return checkpoints._restore_position(step)[:2]


def same_run(one: Path, other: Path) -> None:
    """Compares two complete runs to the last bit: every step, every epoch, and the last checkpoint."""
    import jax

    assert (one / "steps.csv").read_bytes() == (other / "steps.csv").read_bytes()
    assert metrics(one) == metrics(other)
    (left, structure), (right, same) = (jax.tree.flatten(final_state(run)) for run in (one, other))
    assert str(structure) == str(same)
    for ours, theirs in zip(map(np.asarray, left), map(np.asarray, right), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert ours.tobytes() == theirs.tobytes()


def contents(directory: Path) -> dict[str, bytes]:
    """Returns every file below a directory with its bytes."""
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


# -------------------------------------------------------------------------------------------------------- runs that die


class Killed(BaseException):
    """Stands for a process that dies: nothing catches it."""


class Dies(NullReporter):
    """Dies when an epoch has been evaluated, or in the middle of one."""

    def __init__(self, *, epoch: int | None = None, step: int | None = None) -> None:
        self.epoch, self.step = epoch, step

    def epoch_ended(self, epoch: EpochInfo, examples_per_second: float) -> None:
        if epoch.epoch == self.epoch:
            raise Killed

    def stepped(self, step: StepInfo, examples_per_second: float) -> None:
        if self.step is not None and step.step >= self.step:
            raise Killed


def until(process: subprocess.Popen[str], reached: Callable[[], bool]) -> bool:
    """Waits until something is so; returns False when the process has ended before."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        if process.poll() is not None:
            return False
        time.sleep(0.001)
    return True


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Waits for a process; returns its exit code and what it said on stderr, which is no traceback."""
    _, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err, err
    return process.returncode, err.splitlines()


# ---------------------------------------------------------------------------------------------------- what is installed


def announce(
    site: Path, project: str, points: str, *, version: str = "1.0", summary: str = "a test", group: str = GROUP
) -> None:
    """Writes the metadata by which a distribution is found, as pip does; ``points`` are the lines of its plugins."""
    info = site / f"{project.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nSummary: {summary}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{group}]\n{points}\n", encoding="utf-8")
