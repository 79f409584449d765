"""Bringing the logs of a run to where its checkpoint is: lines that come later go, lines that are missing come back."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from lrtrain.files import write_whole
from lrtrain.plugins.context import EpochInfo
from lrtrain.runs.directory import RunDir
from lrtrain.runs.epochs import line_of
from lrtrain.runs.logs import STEP_COLUMNS, whole_lines

_HEADER = ",".join(STEP_COLUMNS) + "\n"


def cut_steps(run_dir: RunDir, step: int) -> None:
    """Takes away the lines of ``steps.csv`` that come after the first ``step`` updates, and what is no line.

    A damaged line before the last one that is kept stays as it is: nothing here could restore it.
    """
    if run_dir.steps.exists():
        lines = whole_lines(run_dir.steps)
        kept = max(_rows(lines, step), default=1 if lines[:1] == [_HEADER] else 0)
        write_whole(run_dir.steps, "".join(lines[:kept]))


def lost_steps(run_dir: RunDir, step: int) -> int:
    """Returns how many of the lines of the first ``step`` updates are not in ``steps.csv``."""
    lines = whole_lines(run_dir.steps) if run_dir.steps.exists() else []
    return max(0, step - max(0, len(lines) - 1))


def restore_metrics(run_dir: RunDir, history: Sequence[EpochInfo]) -> int:
    """Makes ``metrics.jsonl`` hold the epochs of a checkpoint, and no others.

    A line that says what the checkpoint says stays as it is. One that does not is written again from the checkpoint,
    which has all of it but ``examples_per_second``.

    Returns:
      How many were written again.
    """
    there = whole_lines(run_dir.metrics) if run_dir.metrics.exists() else []
    lines = [_line(there, line_of(epoch)) for epoch in history]
    content = "".join(lines)
    if content != "".join(there) or (run_dir.metrics.exists() and run_dir.metrics.stat().st_size != len(content)):
        write_whole(run_dir.metrics, content)
    return sum(line not in there for line in lines)


def _line(there: Sequence[str], values: dict[str, Any]) -> str:
    """Returns the line that says what is to be said, as it is there or made from the values."""
    return next((line for line in there if values.items() <= _table(line).items()), json.dumps(values) + "\n")


def _table(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _rows(lines: Sequence[str], step: int) -> list[int]:
    """Returns the numbers, from 1, of the lines that are rows of the first ``step`` updates, in their order."""
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
