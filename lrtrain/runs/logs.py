"""The two logs of a run, ``metrics.jsonl`` and ``steps.csv``, which only grow."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from lrtrain.errors import TrainingError
from lrtrain.plugins.context import EpochInfo
from lrtrain.runs.directory import RunDir, refusals_named
from lrtrain.runs.epoch_lines import line_of

STEP_COLUMNS = ("step", "epoch", "learning_rate", "loss")


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
        steps = self._open(self._run_dir.steps)
        self._steps_file = steps
        self._steps = csv.writer(steps, lineterminator="\n")
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
        """Writes the lines to the disk, before a checkpoint that needs them.

        Raises:
          TrainingError: the directory has been removed, and the lines with it.
        """
        if not self._run_dir.config.is_file():
            raise TrainingError(f"{self._run_dir.path} has been removed while the run was writing to it")
        with refusals_named(self._run_dir.path):
            for file in (self._metrics, self._steps_file):
                # A run that ended by an error writes its last checkpoint after its logs are closed.
                if not file.closed:
                    os.fsync(file.fileno())

    def _open(self, path: Path) -> TextIO:
        return self._files.enter_context(path.open("a", encoding="utf-8", newline=""))


def whole_lines(path: Path) -> list[str]:
    """Returns the lines of a log, each with its line break, without a torn last one."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return [f"{line}\n" for line in lines[:-1]]


def count_epochs(run_dir: RunDir) -> int:
    """Returns the number of lines in ``metrics.jsonl``."""
    return len(whole_lines(run_dir.metrics)) if run_dir.metrics.exists() else 0
