"""The directory of a run: what is in it, how it is made, and how its logs grow without ever losing a line."""

from __future__ import annotations

import contextlib
import csv
import datetime
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from lrtrain.context import EpochInfo
from lrtrain.errors import RunDirError

VERSION = 1
STEP_COLUMNS = ("step", "epoch", "learning_rate", "loss")


@dataclass(frozen=True)
class RunDir:
    """The paths of a run's files."""

    path: Path

    @property
    def config(self) -> Path:
        """Everything that determines the run."""
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line, one line an epoch."""
        return self.path / "metrics.jsonl"

    @property
    def steps(self) -> Path:
        """One line for every optimizer update."""
        return self.path / "steps.csv"

    @property
    def picture(self) -> Path:
        """The curve of the learning rate."""
        return self.path / "learning_rate.png"

    @property
    def checkpoints(self) -> Path:
        """What Orbax writes."""
        return self.path / "checkpoints"

    def read_config(self) -> dict[str, Any]:
        """Returns what ``config.json`` holds; raises RunDirError when there is no run here that can be read."""
        try:
            config = json.loads(self.config.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunDirError(f"{self.path} holds no run to resume: it has no {self.config.name}") from None
        except (OSError, ValueError) as error:
            raise RunDirError(f"{self.config} cannot be read ({error}): the run cannot be resumed") from error
        if not isinstance(config, dict) or config.get("version") != VERSION:
            found = config.get("version") if isinstance(config, dict) else None
            raise RunDirError(f"{self.config} is of version {found}, and this lrtrain reads version {VERSION}")
        return config

    def write_config(self, config: dict[str, Any]) -> None:
        """Writes ``config.json``, whole or not at all."""
        write_whole(self.config, json.dumps({"version": VERSION, **config}, indent=2) + "\n")

    def cut_logs(self, step: int) -> None:
        """Takes away the lines that come after ``step`` updates, and a torn last one: they will be written again."""
        if self.metrics.exists():
            kept = [line for line in _whole_lines(self.metrics) if json.loads(line)["step"] <= step]
            write_whole(self.metrics, "".join(kept))
        if self.steps.exists():
            header, *rows = _whole_lines(self.steps) or [""]
            kept = [row for row in rows if int(row.split(",", 1)[0]) < step]
            write_whole(self.steps, "".join([header, *kept]))


def new_run_dir(requested: Path | None, plugin: str) -> RunDir:
    """Returns the directory for a new run, without making it yet.

    Args:
      requested: where the user wants it; None for ``runs/<plugin>-<date>-<time>``.
      plugin: the name of the plugin that builds the schedule.

    Raises:
      RunDirError: it is a file, or it is not empty.
    """
    if requested is None:
        return RunDir(_unused(Path("runs") / f"{plugin}-{datetime.datetime.now():%Y%m%d-%H%M%S}").absolute())
    path = requested.expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise RunDirError(f"{requested} is a file: give a directory that is empty or does not exist")
    if path.is_dir() and any(path.iterdir()):
        how = "--resume continues the run in it" if (path / "config.json").exists() else "nothing in it is overwritten"
        raise RunDirError(f"{requested} is not empty: give another --run-dir ({how})")
    return RunDir(path)


def make_run_dir(run_dir: RunDir) -> None:
    """Makes the directory; raises RunDirError when the system does not let it."""
    try:
        run_dir.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirError(f"{run_dir.path} cannot be made: {error.strerror}") from error


def now() -> str:
    """Returns the time of day, with its offset, as ``config.json`` notes the beginning of a run."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


class Logs(Protocol):
    """Takes what a run logs."""

    def add_steps(self, rows: Iterable[tuple[object, ...]]) -> None:
        """Takes rows of `STEP_COLUMNS`."""

    def add_epoch(self, epoch: EpochInfo, examples_per_second: float) -> None:
        """Takes an epoch."""


class NoLogs:
    """Logs of a process that writes none."""

    def add_steps(self, rows: Iterable[tuple[object, ...]]) -> None:
        """Writes nothing."""

    def add_epoch(self, epoch: EpochInfo, examples_per_second: float) -> None:
        """Writes nothing."""


class RunLogs:
    """The two logs of a run, open for appending; used as a context manager."""

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._files = contextlib.ExitStack()

    def __enter__(self) -> RunLogs:
        is_new = not self._run_dir.steps.exists()
        self._metrics = self._open(self._run_dir.metrics)
        steps = self._open(self._run_dir.steps)
        self._steps_file = steps
        self._steps = csv.writer(steps, lineterminator="\n")
        if is_new:
            self._steps.writerow(STEP_COLUMNS)
        return self

    def __exit__(self, *exception: object) -> None:
        self._files.close()

    def add_steps(self, rows: Iterable[tuple[object, ...]]) -> None:
        """Appends rows of `STEP_COLUMNS`, and hands them to the system."""
        self._steps.writerows(rows)
        self._steps_file.flush()

    def add_epoch(self, epoch: EpochInfo, examples_per_second: float, measured_on: str = "test") -> None:
        """Appends the line of an epoch, whose loss and accuracy were measured on that split."""
        # Runs are listed without it.
        import numpy as np

        values = {name.replace("test_", f"{measured_on}_"): value for name, value in vars(epoch).items()}
        values["examples_per_second"] = round(float(examples_per_second), 1)
        values["seconds"] = round(epoch.seconds, 3)
        # As `steps.csv` has it: the shortest decimal that is this float32.
        values["learning_rate"] = float(str(np.float32(epoch.learning_rate)))
        self._metrics.write(json.dumps(values) + "\n")
        self._metrics.flush()

    def _open(self, path: Path) -> TextIO:
        return self._files.enter_context(path.open("a", encoding="utf-8", newline=""))


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that a reader finds the old content or the new, even after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _whole_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]


def _unused(path: Path) -> Path:
    return next(candidate for candidate in _numbered(path) if not candidate.exists())


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.name}-{number}")
        number += 1
