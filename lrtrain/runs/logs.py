"""The two logs of a run, ``metrics.jsonl`` and ``steps.csv``: they grow without ever losing a line."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, TextIO

from lrtrain.errors import TrainingError
from lrtrain.plugins.context import EpochInfo
from lrtrain.runs.directory import RunDir, refusals_named
from lrtrain.runs.epochs import line_of

STEP_COLUMNS = ("step", "epoch", "learning_rate", "loss")


class Logs(Protocol):
    """Takes what a run logs."""

    def add_steps(self, rows: Iterable[tuple[object, ...]]) -> None:
        """Takes rows of `STEP_COLUMNS`."""

    def add_epoch(self, epoch: EpochInfo) -> None:
        """Takes an epoch."""

    def sync(self) -> None:
        """Sees to it that what was taken survives a power cut; before each checkpoint."""


class NoLogs:
    """Logs of a process that writes none."""

    def add_steps(self, rows: Iterable[tuple[object, ...]]) -> None:
        """Writes nothing."""

    def add_epoch(self, epoch: EpochInfo) -> None:
        """Writes nothing."""

    def sync(self) -> None:
        """Writes nothing."""


class RunLogs:
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
        """Appends rows of `STEP_COLUMNS`, and hands them to the system."""
        with refusals_named(self._run_dir.path):
            self._steps.writerows(rows)
            self._steps_file.flush()

    def add_epoch(self, epoch: EpochInfo) -> None:
        """Appends the line of an epoch."""
        with refusals_named(self._run_dir.path):
            self._metrics.write(json.dumps(line_of(epoch)) + "\n")
            self._metrics.flush()

    def sync(self) -> None:
        """Sees to it that the lines are on the disk before the checkpoint that counts on them.

        Raises:
          TrainingError: the directory has been removed meanwhile; the lines would be in no file.
        """
        if not self._run_dir.config.is_file():
            raise TrainingError(f"{self._run_dir.path} has been removed while the run was writing to it")
        with refusals_named(self._run_dir.path):
            for file in (self._metrics, self._steps_file):
                # A run that an error has ended writes its last checkpoint after its logs are closed.
                if not file.closed:
                    os.fsync(file.fileno())

    def _open(self, path: Path) -> TextIO:
        return self._files.enter_context(path.open("a", encoding="utf-8", newline=""))


def whole_lines(path: Path) -> list[str]:
    """Returns the lines of a log, each with its end; a torn last one is none."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return [f"{line}\n" for line in lines[:-1]]


def count_epochs(run_dir: RunDir) -> int:
    """Returns the lines in ``metrics.jsonl``."""
    return len(whole_lines(run_dir.metrics)) if run_dir.metrics.exists() else 0
