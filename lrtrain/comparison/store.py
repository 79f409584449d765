"""The directory of a comparison: its plan, and a directory for each trial; a finished trial is never removed."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lrtrain.comparison.plan import Plan
from lrtrain.comparison.trial import Outcome, Trial
from lrtrain.errors import RunDirError
from lrtrain.files import write_whole
from lrtrain.plugins.spec import short
from lrtrain.runs.directory import make_directory, make_new_directory, new_directory
from lrtrain.runs.run_config import Device
from lrtrain.strict_json import InvalidFileError, Positive, Whole, decode, read_json
from lrtrain.workloads.headline import Headline

_OUTCOME = "outcome.json"
# The files of a process that was killed before it wrote its plan; then `runs` is empty.
_UNFINISHED = re.compile(r"runs|\.lock|\.comparison\.json\.\d+", re.ASCII)


@dataclass(frozen=True)
class Store:
    """The paths of a comparison's files."""

    path: Path

    @property
    def plan(self) -> Path:
        """What is compared, and how."""
        return self.path / "comparison.json"

    @property
    def results(self) -> Path:
        """The evidence of its trials."""
        return self.path / "results.json"

    @property
    def report(self) -> Path:
        """The page with its results."""
        return self.path / "report.html"

    @property
    def pictures(self) -> Path:
        """The directory of its pictures."""
        return self.path / "pictures"

    def create(self, plan: Plan, about: dict[str, Any]) -> None:
        """Makes the directory, and writes the plan and the conditions; raises RunDirError when it cannot be made."""
        make_directory(self.path / "runs")
        write_whole(self.plan, json.dumps({**plan.to_json(), "about": about}, indent=2) + "\n")

    def read(self) -> tuple[Plan, dict[str, Any]]:
        """Returns the plan and the conditions in its file; raises RunDirError when there is none."""
        try:
            if not self.plan.exists():
                raise RunDirError(f"{self.path} holds no comparison: it has no {self.plan.name}")
            values = read_json(self.plan)
            return Plan.from_json(values), decode(values.get("about", {}), About, f"{self.plan.name}, about").to_json()
        except InvalidFileError as error:
            raise RunDirError(f"the comparison in {self.path} cannot be read: {error}") from error
        except OSError as error:
            raise RunDirError(f"the comparison in {self.path} cannot be read ({error.strerror})") from error

    def wave(self, process: int) -> Path:
        """Returns the path of the file of the wave that a process is training."""
        return self.path / f".wave-{process}.npz"

    def sweep(self) -> None:
        """Removes the files of waves, which a complete comparison does not need, those of all processes included."""
        for pattern in (".wave-*.npz", "..wave-*.npz.*"):
            for path in self.path.glob(pattern):
                path.unlink(missing_ok=True)

    def place(self, plan: Plan, trial: Trial) -> Path:
        """Returns the directory of a trial; nothing is made."""
        labels = [row.label for row in plan.rows]
        if trial.label not in labels:
            raise RunDirError(f"{self.path} has a run of '{short(trial.label)}', whose schedule is not in its plan")
        return self.path / "runs" / trial.directory(labels.index(trial.label))

    def remove_unfinished(self, plan: Plan, trial: Trial) -> None:
        """Removes the directory of a trial that was interrupted; that of a finished one stays."""
        path = self.place(plan, trial)
        if path.is_dir() and not (path / _OUTCOME).exists():
            shutil.rmtree(path)

    def add(self, plan: Plan, outcome: Outcome) -> None:
        """Writes the outcome of a trial."""
        path = self.place(plan, outcome.trial)
        path.mkdir(parents=True, exist_ok=True)
        write_whole(path / _OUTCOME, json.dumps(outcome.to_json()) + "\n")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Locks this comparison against other processes; raises RunDirError when one is working on it."""
        # Not the lock of a run's directory: processes on several hosts share comparisons, and network file systems lock
        # files that are open for writing alone.
        import filelock

        try:
            held = filelock.FileLock(self.path / ".lock", timeout=0).acquire()
        except filelock.Timeout:
            raise RunDirError(f"another process is working on {self.path}: wait for it, or end it") from None
        with held:
            yield

    def outcomes(self) -> list[Outcome]:
        """Returns the outcomes of the finished trials, without their directories; see `finished`."""
        return [outcome for _, outcome in self.finished()]

    def finished(self) -> list[tuple[Path, Outcome]]:
        """Returns the directories and outcomes of the finished trials; raises RunDirError when one cannot be read."""
        found = [(path.parent, _read(path)) for path in sorted((self.path / "runs").glob(f"*/{_OUTCOME}"))]
        seen: dict[Trial, Path] = {}
        for path, outcome in found:
            if (other := seen.setdefault(outcome.trial, path)) != path:
                raise RunDirError(f"{other} and {path.name} say that they are one run: remove one of them")
        return found


def new_store(requested: str | Path | None) -> Store:
    """Returns the directory for a new comparison, without making it yet; see `new_directory`."""
    return Store(new_directory(requested, "compare", _check_unused))


def claimed(store: Store, held: contextlib.ExitStack, *, named: bool) -> Store:
    """Makes the directory of a new comparison (`make_new_directory`), and locks it until ``held`` ends.

    Raises RunDirError when it is not empty, for example because another process has just begun a comparison in it.
    """
    store = Store(make_new_directory(store.path, named=named))
    held.enter_context(store.locked())
    _check_unused(store.path)
    return store


def _check_unused(path: Path, title: Path | None = None) -> None:
    unfinished = all(_UNFINISHED.fullmatch(entry.name) for entry in path.iterdir())
    if not unfinished or any(path.glob("runs/*")):
        how = "--resume continues it" if Store(path).plan.exists() else "nothing in it is overwritten"
        raise RunDirError(f"{title or path} is not empty: give another directory ({how})")


@dataclass(frozen=True)
class About:
    """The conditions that a comparison was begun under, as its file has them; see `lrtrain.comparison.conditions`.

    `schedules` has the digest of the learning rates of each label, `merged` the directories of the comparisons that it
    was merged from; the other fields are those of `lrtrain.runs.run_config.RunConfig`.
    """

    versions: dict[str, str] = field(default_factory=dict)
    device: Device | None = None
    data: dict[str, Any] | None = None
    program: str | None = None
    schedules: dict[str, str] = field(default_factory=dict)
    code: dict[str, str | None] = field(default_factory=dict)
    processes: Positive = 1
    merged: tuple[str, ...] = ()
    headline: Headline | None = None
    guess: dict[str, float] | None = None
    held_out: Whole | None = None
    centres: dict[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as JSON holds them, but for those that an earlier lrtrain did not note."""
        records = {"device": self.device, "headline": self.headline}
        values = {**vars(self), **{name: None if each is None else vars(each) for name, each in records.items()}}
        return {name: value for name, value in values.items() if name == "program" or value not in (None, ())}


def _read(path: Path) -> Outcome:
    try:
        return Outcome.from_json(read_json(path))
    except InvalidFileError as error:
        raise RunDirError(f"{path.parent}: {error}: remove this directory, and it is trained again") from error
