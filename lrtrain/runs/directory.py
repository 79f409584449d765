"""The directory of a run: what is in it, and how it is made."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lrtrain.errors import RunDirError, TrainingError

# What a process leaves that is killed before its run has begun.
_UNFINISHED = re.compile(r"\.config\.json\.\d+", re.ASCII)


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

    What holds without the lock of the directory (`lrtrain.runs.lock`) may no longer hold a moment later.
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


def numbered(path: Path) -> Iterator[Path]:
    """Yields a path, and then the same with ``-2``, ``-3`` and so on behind its name, without end."""
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.name}-{number}")


def make_new_directory(path: Path) -> Path:
    """Makes a directory that nobody else has made, with a number behind its name if need be; returns its path.

    Raises:
      RunDirError: the system does not let it.
    """
    for candidate in numbered(path):
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
