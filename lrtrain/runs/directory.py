"""The directory of a run: the paths of its files, and how it is made."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lrtrain.errors import RunDirError, TrainingError
from lrtrain.files import has_utf8_name

# The file of a process that was killed before its run began.
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
        """The log of epochs: one line, a JSON object, for each."""
        return self.path / "metrics.jsonl"

    @property
    def test(self) -> Path:
        """What was measured on the test set at the end, where the epochs are measured on validation examples."""
        return self.path / "test.json"

    @property
    def steps(self) -> Path:
        """The log of steps: one line for each optimizer update."""
        return self.path / "steps.csv"

    @property
    def picture(self) -> Path:
        """The curve of the learning rate."""
        return self.path / "learning_rate.png"

    @property
    def checkpoints(self) -> Path:
        """The directory of the checkpoints, which Orbax writes."""
        return self.path / "checkpoints"


def new_directory(requested: str | Path | None, name: str, check: Callable[[Path, Path], None]) -> Path:
    """Returns the directory for a new run or comparison; ``runs/<name>-<date>-<time>`` if none is requested.

    It is not made yet. ``check`` is given its path and the user's name of it; it raises RunDirError unless it is empty.
    """
    if requested is None:
        return (Path("runs") / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}").absolute()
    path = Path(requested).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise RunDirError(f"{Path(requested)} is a file: give a directory that is empty or does not exist")
    if path.is_dir():
        check(path, Path(requested))
    return path


def new_run_dir(requested: str | Path | None, plugin: str) -> RunDir:
    """Returns the directory for a new run; see `new_directory` and `check_name`."""
    if requested is not None:
        check_name(Path(requested).expanduser().absolute())
    return RunDir(new_directory(requested, plugin, check_unused))


def check_name(path: Path) -> None:
    """Raises RunDirError for a directory in which no checkpoint can be written, because its path is not UTF-8."""
    if not has_utf8_name(path):
        raise RunDirError(f"{path} is refused as the directory of a run: its path is not UTF-8, so take another name")


def check_unused(path: Path, title: Path | None = None) -> None:
    """Raises RunDirError for a directory that is not empty; ``title`` is the user's name of it.

    Without the lock of the directory (`lrtrain.runs.lock`) another process may use it a moment later.
    """
    if not all(_UNFINISHED.fullmatch(entry.name) for entry in path.iterdir()):
        how = "--resume continues the run in it" if RunDir(path).config.exists() else "nothing in it is overwritten"
        raise RunDirError(f"{title or path} is not empty: give another --run-dir ({how})")


def make_directory(path: Path) -> None:
    """Makes a directory, unless it exists; raises RunDirError when the system refuses."""
    with _making(path):
        path.mkdir(parents=True, exist_ok=True)


def numbered(path: Path) -> Iterator[Path]:
    """Yields a path, and then the same with ``-2``, ``-3`` and so on behind its name, without end."""
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.name}-{number}")


def make_new_directory(path: Path, *, named: bool) -> Path:
    """Makes the directory of a new run or comparison, and returns its path; raises RunDirError when the system refuses.

    Unless the user has named it, it did not exist: a number is added to a name that is taken.
    """
    if named:
        make_directory(path)
        return path
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
    """Returns the date and the time with the offset of the time zone, as ``config.json`` has the beginning of a run."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


@contextlib.contextmanager
def refusals_named(path: Path) -> Iterator[None]:
    """Turns errors of the system while a run is written (disk full, read-only, removed) into a TrainingError."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{path} cannot be written ({error.strerror or error}): what is there is kept, and --resume goes on from "
            "there once that is fixed"
        ) from error
