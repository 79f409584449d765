"""The two logs of a run, ``metrics.jsonl`` and ``steps.csv``: they grow, and are cut to a checkpoint and read.

Only this module knows the columns of ``steps.csv`` and the keys of ``metrics.jsonl`` and of a saved history.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from msgspec import Struct, field
from msgspec.structs import asdict

from lrtrain.errors import TrainingError
from lrtrain.files import write_whole
from lrtrain.plugins.context import EpochInfo, MeasuredOn
from lrtrain.runs.directory import RunDir, refusals_named
from lrtrain.strict_json import InvalidFileError, Whole, decode, parse_json

STEP_COLUMNS = ("step", "epoch", "learning_rate", "loss")


class _Line(Struct, kw_only=True):
    epoch: Whole
    step: Whole
    train_loss: float
    test_loss: float
    test_accuracy: float = math.nan
    learning_rate: float
    seconds: float
    # A line that was restored from a checkpoint has none.
    examples_per_second: float = math.nan


class _OnValidation(_Line, kw_only=True):
    test_loss: float = field(name="validation_loss")
    test_accuracy: float = field(name="validation_accuracy", default=math.nan)


# A saved history has these keys whatever the epochs were measured on: its reader knows that.
_SAVED = _Line.__struct_fields__[:-1]


def line_of(epoch: EpochInfo) -> dict[str, Any]:
    """Returns the line of an epoch in ``metrics.jsonl``; `parse_epochs` reads it."""
    # Runs are listed without it.
    import numpy as np

    line = {
        "epoch": epoch.epoch,
        "step": epoch.step,
        "train_loss": epoch.train_loss,
        f"{epoch.measured_on}_loss": epoch.loss,
        **({} if math.isnan(epoch.accuracy) else {f"{epoch.measured_on}_accuracy": epoch.accuracy}),
        **{f"{epoch.measured_on}_{name}": value for name, value in epoch.metrics.items()},
        # As `steps.csv` has it: the shortest decimal that is this float32.
        "learning_rate": float(str(np.float32(epoch.learning_rate))),
        "seconds": round(epoch.seconds, 3),
    }
    speed = epoch.examples_per_second
    return line if math.isnan(speed) else {**line, "examples_per_second": round(float(speed), 1)}


def parse_epochs(text: str) -> Iterator[EpochInfo]:
    """Yields the epochs of ``metrics.jsonl``; raises InvalidFileError at a line that is none, except a torn last."""
    for number, line in enumerate(text.split("\n")[:-1]):
        title = f"metrics.jsonl, line {number + 1}"
        values = parse_json(line, title)
        held_out = isinstance(values, dict) and values.get("validation_loss") is not None
        epoch = decode(values, _OnValidation if held_out else _Line, title)
        if epoch.epoch != number:
            raise InvalidFileError(f"{title} is of epoch {epoch.epoch + 1}")
        measured_on: MeasuredOn = "validation" if held_out else "test"
        metrics = _further_metrics(values, f"{measured_on}_", title)
        yield EpochInfo(**asdict(epoch), measured_on=measured_on, metrics=metrics)


def _further_metrics(values: Mapping[str, Any], prefix: str, title: str) -> dict[str, float]:
    names = {name.removeprefix(prefix): name for name in values if name.startswith(prefix)}
    return {
        short: decode(values[name], float, f"{title}, {name}")
        for short, name in names.items()
        if short not in {"loss", "accuracy"}
    }


def to_saved(history: Iterable[EpochInfo]) -> list[dict[str, Any]]:
    """Returns a history as a checkpoint holds it, and the file of a wave."""
    return [_saved(epoch) for epoch in history]


def _saved(epoch: EpochInfo) -> dict[str, Any]:
    values = {name: getattr(epoch, name) for name in _SAVED}
    if math.isnan(epoch.test_accuracy):
        del values["test_accuracy"]
    return {**values, "metrics": dict(epoch.metrics)} if epoch.metrics else values


def from_saved(history: Iterable[Mapping[str, Any]], measured_on: MeasuredOn = "test") -> tuple[EpochInfo, ...]:
    """Returns what `to_saved` was given, but for ``examples_per_second``."""
    return tuple(EpochInfo(**{"test_accuracy": math.nan, **epoch}, measured_on=measured_on) for epoch in history)


class Logs:
    """Receives the steps and epochs of a run; this class itself writes nothing."""

    def add_steps(self, rows: Iterable[tuple[object, ...]]) -> None:
        """Receives rows of `STEP_COLUMNS`."""

    def add_epoch(self, epoch: EpochInfo) -> None:
        """Receives an epoch."""

    def sync(self) -> None:
        """Writes to the disk what was received, before each checkpoint."""


class RunLogs(Logs):
    """The two logs of a run, open for appending; used as a context manager."""

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._files = contextlib.ExitStack()

    def __enter__(self) -> RunLogs:
        self._metrics = self._open(self._run_dir.metrics)
        self._steps_file = self._open(self._run_dir.steps)
        self._steps = csv.writer(self._steps_file, lineterminator="\n")
        if self._run_dir.steps.stat().st_size == 0:
            self._steps.writerow(STEP_COLUMNS)
        return self

    def __exit__(self, *exception: object) -> None:
        with refusals_named(self._run_dir.path):
            self._files.close()

    def add_steps(self, rows: Iterable[tuple[object, ...]]) -> None:
        """Appends rows of `STEP_COLUMNS`."""
        with refusals_named(self._run_dir.path):
            self._steps.writerows(rows)
            self._steps_file.flush()

    def add_epoch(self, epoch: EpochInfo) -> None:
        """Appends the line of an epoch."""
        with refusals_named(self._run_dir.path):
            self._metrics.write(json.dumps(line_of(epoch)) + "\n")
            self._metrics.flush()

    def sync(self) -> None:
        """Writes the lines to the disk; raises TrainingError when the directory has been removed, and they with it."""
        if not self._run_dir.config.is_file():
            raise TrainingError(f"{self._run_dir.path} has been removed while the run was writing to it")
        with refusals_named(self._run_dir.path):
            for file in (self._metrics, self._steps_file):
                # A run that ended by an error writes its last checkpoint after its logs are closed.
                if not file.closed:
                    os.fsync(file.fileno())

    def _open(self, path: Path) -> TextIO:
        return self._files.enter_context(path.open("a", encoding="utf-8", newline=""))


def _whole_lines(path: Path) -> list[str]:
    """Returns the lines of a log, each with its line break, without a torn last one; none where it is not there."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return [f"{line}\n" for line in lines[:-1]]


def count_epochs(run_dir: RunDir) -> int:
    """Returns the number of lines in ``metrics.jsonl``."""
    return len(_whole_lines(run_dir.metrics))


def lost_steps(run_dir: RunDir, step: int) -> int:
    """Returns the number of lines of the first ``step`` updates that are missing in ``steps.csv``."""
    return max(0, step - max(0, len(_whole_lines(run_dir.steps)) - 1))


def cut_steps(run_dir: RunDir, step: int) -> None:
    """Removes the lines of ``steps.csv`` after the first ``step`` updates, and a torn last line.

    A damaged line before the last one that is kept stays as it is: a checkpoint cannot restore it.
    """
    if run_dir.steps.exists():
        lines = _whole_lines(run_dir.steps)
        kept = int(lines[:1] == [",".join(STEP_COLUMNS) + "\n"])
        last = -1
        for number, line in enumerate(lines, 1):
            row = _step_of(line)
            if row is not None and last < row < step:
                kept, last = number, row
        write_whole(run_dir.steps, "".join(lines[:kept]))


def _step_of(line: str) -> int | None:
    cells = line.removesuffix("\n").split(",")
    try:
        step, epoch, rate = int(cells[0]), int(cells[1]), float(cells[2])
        float(cells[3])
    except (ValueError, IndexError):
        return None
    return step if len(cells) == len(STEP_COLUMNS) and epoch >= 0 and math.isfinite(rate) else None


def restore_metrics(run_dir: RunDir, history: Sequence[EpochInfo]) -> int:
    """Makes ``metrics.jsonl`` hold the epochs of a checkpoint, and no others; returns how many lines were restored.

    A line that agrees with the checkpoint stays as it is. Any other is restored from the checkpoint, which has all of
    it but ``examples_per_second``.
    """
    there = _whole_lines(run_dir.metrics)
    lines = [_line(there, line_of(epoch)) for epoch in history]
    content = "".join(lines)
    if content != "".join(there) or (run_dir.metrics.exists() and run_dir.metrics.stat().st_size != len(content)):
        write_whole(run_dir.metrics, content)
    return sum(line not in there for line in lines)


def _line(there: Sequence[str], values: dict[str, Any]) -> str:
    """Returns the line of an epoch: the one that is there, or a new one."""
    return next((line for line in there if values.items() <= _table(line).items()), json.dumps(values) + "\n")


def _table(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def parse_steps(text: str) -> tuple[list[float], float]:
    """Returns the learning rates and the last loss in ``steps.csv``; raises InvalidFileError as `parse_epochs` does."""
    rows = text.split("\n")[1:-1]
    try:
        return [float(row.split(",")[2]) for row in rows], float(rows[-1].split(",")[3]) if rows else math.nan
    except (IndexError, ValueError):
        number = next((at for at, row in enumerate(rows, 2) if not _has_numbers(row)), len(rows) + 1)
        raise InvalidFileError(f"steps.csv, line {number} is no step") from None


def _has_numbers(row: str) -> bool:
    try:
        return len(list(map(float, row.split(",")))) == len(STEP_COLUMNS)
    except ValueError:
        return False
