"""Repairing the logs of a run to match its checkpoint: later lines are removed, missing lines are restored."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from lrtrain.files import write_whole
from lrtrain.plugins.context import EpochInfo
from lrtrain.runs.directory import RunDir
from lrtrain.runs.epoch_lines import line_of
from lrtrain.runs.logs import STEP_COLUMNS, whole_lines

_HEADER = ",".join(STEP_COLUMNS) + "\n"


def cut_steps(run_dir: RunDir, step: int) -> None:
    """Removes the lines of ``steps.csv`` after the first ``step`` updates, and a torn last line.

    A damaged line before the last one that is kept stays as it is: a checkpoint cannot restore it.
    """
    if run_dir.steps.exists():
        lines = whole_lines(run_dir.steps)
        kept = max(_rows(lines, step), default=1 if lines[:1] == [_HEADER] else 0)
        write_whole(run_dir.steps, "".join(lines[:kept]))


def lost_steps(run_dir: RunDir, step: int) -> int:
    """Returns the number of lines of the first ``step`` updates that are missing in ``steps.csv``."""
    lines = whole_lines(run_dir.steps) if run_dir.steps.exists() else []
    return max(0, step - max(0, len(lines) - 1))


def restore_metrics(run_dir: RunDir, history: Sequence[EpochInfo]) -> int:
    """Makes ``metrics.jsonl`` hold the epochs of a checkpoint, and no others.

    A line that agrees with the checkpoint stays as it is. Any other is restored from the checkpoint, which has all of
    it but ``examples_per_second``.

    Returns:
      The number of lines that were restored.
    """
    there = whole_lines(run_dir.metrics) if run_dir.metrics.exists() else []
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


def _rows(lines: Sequence[str], step: int) -> list[int]:
    """Returns the numbers, from 1, of the lines that are rows of the first ``step`` updates in ascending order."""
    rows, last = [], -1
    for number, line in enumerate(lines, 1):
        row = _step_of(line)
        if row is not None and last < row < step:
            rows.append(number)
            last = row
    return rows


def _step_of(line: str) -> int | None:
    cells = line.removesuffix("\n").split(",")
    try:
        step, epoch, rate = int(cells[0]), int(cells[1]), float(cells[2])
        float(cells[3])
    except (ValueError, IndexError):
        return None
    return step if len(cells) == len(STEP_COLUMNS) and epoch >= 0 and math.isfinite(rate) else None
