"""The directory of a run: what is in it, how it is made, and how its logs grow without ever losing a line."""

from __future__ import annotations

import contextlib
import csv
import datetime
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from lrtrain.context import EpochInfo
from lrtrain.errors import RunDirError, TrainingError

VERSION = 1
# What a process leaves that is killed before its run has begun.
_UNFINISHED = re.compile(r"\.config\.json\.\d+", re.ASCII)
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
            later = ": it was written by a later lrtrain, so update this one" if _is_later(found) else ""
            raise RunDirError(f"{self.config} is of version {found}, and this lrtrain reads version {VERSION}{later}")
        return config

    def write_config(self, config: dict[str, Any]) -> None:
        """Writes ``config.json``, whole or not at all."""
        write_whole(self.config, json.dumps({"version": VERSION, **config}, indent=2) + "\n")

    def count_epochs(self) -> int:
        """Returns the lines in ``metrics.jsonl``."""
        return len(whole_lines(self.metrics)) if self.metrics.exists() else 0


def new_run_dir(requested: Path | None, plugin: str) -> RunDir:
    """Returns the directory for a new run, without making it yet.

    Args:
      requested: where the user wants it; None for ``runs/<plugin>-<date>-<time>``.
      plugin: the name of the plugin that builds the schedule.

    Raises:
      RunDirError: it is a file, or it is not empty.
    """
    if requested is None:
        return RunDir(dated(plugin))
    path = requested.expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise RunDirError(f"{requested} is a file: give a directory that is empty or does not exist")
    if path.is_dir():
        check_unused(RunDir(path), requested)
    return RunDir(path)


def check_unused(run_dir: RunDir, title: Path | None = None) -> None:
    """Raises RunDirError for a directory that is not empty; ``title`` is what the user calls it.

    What holds without the lock of the directory (`lrtrain.run_lock`) may no longer hold a moment later.
    """
    if not all(_UNFINISHED.fullmatch(entry.name) for entry in run_dir.path.iterdir()):
        how = "--resume continues the run in it" if run_dir.config.exists() else "nothing in it is overwritten"
        raise RunDirError(f"{title or run_dir.path} is not empty: give another --run-dir ({how})")


def dated(name: str) -> Path:
    """Returns the path of a directory that is named by the time of day."""
    return (Path("runs") / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}").absolute()


def make_directory(path: Path) -> None:
    """Makes a directory, unless it is there; raises RunDirError when the system does not let it."""
    with _making(path):
        path.mkdir(parents=True, exist_ok=True)


def make_new_directory(path: Path) -> Path:
    """Makes a directory that nobody else has made, with a number behind its name if need be; returns its path.

    Raises:
      RunDirError: the system does not let it.
    """
    for candidate in _numbered(path):
        with _making(candidate), contextlib.suppress(FileExistsError):
            candidate.mkdir(parents=True)
            return candidate
    raise AssertionError("there is no end of numbers")


@contextlib.contextmanager
def _making(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunDirError(f"{path} cannot be made: {error.strerror}") from error


def now() -> str:
    """Returns the time of day, with its offset, as ``config.json`` notes the beginning of a run."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


class Logs(Protocol):
    """Takes what a run logs."""

    def add_steps(self, rows: Iterable[tuple[object, ...]]) -> None:
        """Takes rows of `STEP_COLUMNS`."""

    def add_epoch(self, epoch: EpochInfo, examples_per_second: float) -> None:
        """Takes an epoch."""

    def sync(self) -> None:
        """Sees to it that what was taken survives a power cut; before each checkpoint."""


class NoLogs:
    """Logs of a process that writes none."""

    def add_steps(self, rows: Iterable[tuple[object, ...]]) -> None:
        """Writes nothing."""

    def add_epoch(self, epoch: EpochInfo, examples_per_second: float) -> None:
        """Writes nothing."""

    def sync(self) -> None:
        """Writes nothing."""


@contextlib.contextmanager
def refusals_named(path: Path) -> Iterator[None]:
    """Turns what the system refuses while a run is written (disk full, read-only, removed) into one sentence.

    Raises:
      TrainingError: it has refused something.
    """
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{path} cannot be written ({error.strerror or error}): what is there is kept, and --resume goes on from "
            "there once that is mended"
        ) from error


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

    def add_epoch(self, epoch: EpochInfo, examples_per_second: float, measured_on: str = "test") -> None:
        """Appends the line of an epoch, whose loss and accuracy were measured on that split."""
        values = {**epoch_values(epoch, measured_on), "examples_per_second": round(float(examples_per_second), 1)}
        with refusals_named(self._run_dir.path):
            self._metrics.write(json.dumps(values) + "\n")
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


def epoch_values(epoch: EpochInfo, measured_on: str) -> dict[str, Any]:
    """Returns what ``metrics.jsonl`` holds of an epoch, apart from ``examples_per_second``."""
    # Runs are listed without it.
    import numpy as np

    values = {name.replace("test_", f"{measured_on}_"): value for name, value in vars(epoch).items()}
    values["seconds"] = round(epoch.seconds, 3)
    # As `steps.csv` has it: the shortest decimal that is this float32.
    values["learning_rate"] = float(str(np.float32(epoch.learning_rate)))
    return values


def whole_lines(path: Path) -> list[str]:
    """Returns the lines of a log, each with its end; a torn last one is none."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return [f"{line}\n" for line in lines[:-1]]


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file so that a reader finds the old content or the new, even after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        # On a full disk it would hold what little room there is.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    """Makes the names in a directory survive a power cut, where the system can."""
    if sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        # Some network file systems refuse it for directories.
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def _is_later(version: object) -> bool:
    return isinstance(version, int) and version > VERSION


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.name}-{number}")
        number += 1
