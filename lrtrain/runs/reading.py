"""Finding and reading the runs on disk, without changing anything or importing what trains."""

from __future__ import annotations

import contextlib
import datetime
import difflib
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lrtrain.errors import RunDirError
from lrtrain.plugins.spec import short
from lrtrain.runs.directory import RunDir
from lrtrain.runs.lock import being_written
from lrtrain.runs.logs import parse_epochs, parse_steps
from lrtrain.runs.record import Epoch, Head, Run, State
from lrtrain.runs.run_config import RunConfig, is_config
from lrtrain.strict_json import InvalidFileError, read_json, read_text
from lrtrain.workloads.headline import ACCURACY

# A comparison keeps its runs in <comparison>/runs/<run>.
_DEPTH = 3
_LOGS = ("metrics.jsonl", "steps.csv")


def find_runs(directory: str | Path) -> list[Run]:
    """Returns the runs in a directory, in the order of their names; those of comparisons too, two levels further down.

    Directories without a run are skipped, and links to directories are not followed. A damaged run has the state
    ``"damaged"``.

    Args:
      directory: the directory to search, such as ``runs``; it may also be a run itself.

    Example:
      ```python
      from lrtrain.runs.reading import find_runs

      best = max((run for run in find_runs("runs") if run.last), key=lambda run: run.last.accuracy)
      ```
    """
    return [read_logged(path, name).run for name, path in sorted(run_paths(Path(directory)).items())]


def read_run(path: str | Path) -> Run:
    """Returns the run in a directory.

    Args:
      path: the run's directory.

    Raises:
      RunDirError: there is no run, nor a damaged one.
    """
    path = Path(path)
    if not _is_run(path):
        raise RunDirError(f"{path} holds no run: it has no config.json of one")
    return read_logged(path, path.absolute().name).run


@dataclass(frozen=True)
class Logged:
    """A run with what `Run` leaves out, because it is long: the learning rates that it has applied, step by step."""

    run: Run
    learning_rates: list[float]


def pick_run(text: str, directory: Path) -> Run:
    """Returns the run that a user means: by its path, its name in a directory, or the beginning of its name.

    Raises:
      RunDirError: there is no such run, or more than one.
    """
    if text and _is_run(Path(text)):
        return read_run(text)
    paths = run_paths(directory)
    parts = {name: (name, name.rpartition("/")[2]) for name in paths}
    names = [name for name in paths if text in parts[name]]
    names = names or [name for name in paths if text and any(part.startswith(text) for part in parts[name])]
    if len(names) == 1:
        return read_logged(paths[names[0]], names[0]).run
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise RunDirError(f"'{text}' may be {', '.join(sorted(names)[:3])}{more}: give more of the name, or the path")
    raise RunDirError(f"no run '{text}' in {directory}{_nearest(text, paths)}: 'lrtrain runs list' shows what is there")


def run_paths(directory: Path) -> dict[str, Path]:
    """Returns the directories of runs by their names, which are relative to ``directory``."""
    if _is_run(directory):
        return {directory.absolute().name: directory}
    return {path.relative_to(directory).as_posix(): path for path in _below(directory, _DEPTH)}


def newest_checkpoint(path: Path) -> int | None:
    """Returns the step of the newest complete checkpoint; None if there is none."""
    # Orbax gives a checkpoint this name once it is complete; before, the name has a suffix.
    names = (re.fullmatch(r"step_(\d+)", name, re.ASCII) for name in _names(RunDir(path).checkpoints))
    return max((int(match[1]) for match in names if match), default=None)


def _nearest(text: str, names: Iterable[str]) -> str:
    """Returns a hint with the run whose name, or its beginning, is nearest; empty if none is near."""
    beginnings = {part[: len(text)]: name for name in names for part in (name, name.rpartition("/")[2])}
    match = difflib.get_close_matches(text, [*names, *beginnings], n=1) if text else []
    return f" (did you mean '{beginnings.get(match[0], match[0])}'?)" if match else ""


def _below(directory: Path, depth: int) -> Iterator[Path]:
    for name in _names(directory):
        path = directory / name
        if path.is_symlink() or not path.is_dir():
            continue
        if _is_run(path):
            yield path
        elif depth > 1:
            yield from _below(path, depth - 1)


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _is_run(path: Path) -> bool:
    """Returns whether a directory is a run, or a damaged one, and not another tool's with a ``config.json``."""
    names = set(_names(path))
    try:
        if "config.json" in names and is_config(read_json(path / "config.json")):
            return True
        if "outcome.json" in names:
            return _outcome(path) is not None or names.issuperset(_LOGS)
    except InvalidFileError:
        return bool(names.intersection(_LOGS))
    return names.issuperset(_LOGS)


def read_logged(path: Path, name: str) -> Logged:
    """Returns the run in a directory, which holds one, under a name; each of its files is parsed once."""
    problems: list[str] = []
    head: Head | None = None
    epochs: list[Epoch] = []
    rates: list[float] = []
    loss = math.nan
    with _noted(problems):
        head = parse_head(path)
    with _noted(problems):
        # Those before the first that cannot be read stay.
        epochs.extend(parse_epochs(_log(path, "metrics.jsonl")))
    with _noted(problems):
        rates, loss = parse_steps(_log(path, "steps.csv"))
    state, reason = _state(path, head, epochs, problems)
    if state == "interrupted" and rates and not math.isfinite(loss):
        state, reason = "diverged", f"the loss is {loss} at step {len(rates) - 1}"
    run = Run(path, name, state, reason, head, tuple(epochs), len(rates), max(rates, default=None), _size(path))
    return Logged(run, rates)


@contextlib.contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """Notes what is wrong with a file."""
    try:
        yield
    except InvalidFileError as error:
        problems.append(str(error))


def parse_head(path: Path) -> Head:
    """Returns what ``config.json`` in a directory says; raises InvalidFileError when it is not that of a run."""
    file = path / "config.json"
    values = read_json(file)
    if not is_config(values):
        raise InvalidFileError("config.json is not that of a run")
    config = RunConfig.from_json(values)
    schedule, total = config.schedule, config.total_steps
    return Head(
        plugins=config.specs,
        schedule=config.spec,
        whole_schedule=(schedule.start, schedule.steps) == (0, total),
        train=config.train,
        total_steps=total,
        versions=config.versions,
        devices=str(config.device) if config.processes == 1 else f"{config.device} in {config.processes} processes",
        resumed=tuple(each.step for each in config.resumed),
        comparison=values.get("comparison"),
        started=_written(file, config) if config.started is None else _noted_time(config.started),
        values=values,
        headline=config.headline or ACCURACY,
    )


def _written(file: Path, config: RunConfig) -> datetime.datetime | None:
    """Returns when the configuration was written, which is the beginning of a run that was never resumed."""
    try:
        written = datetime.datetime.fromtimestamp(file.stat().st_mtime).astimezone()
    except OSError as error:
        raise InvalidFileError(f"config.json cannot be read ({error.strerror})") from None
    return None if config.resumed else written


def _noted_time(noted: str) -> datetime.datetime:
    try:
        started = datetime.datetime.fromisoformat(noted)
        # The years 1 and 9999 do not exist in every time zone.
        return started if started.tzinfo and started.utctimetuple() else started.astimezone()
    except (ValueError, OverflowError, OSError):
        raise InvalidFileError(f"config.json: started is refused: {noted!r:.60} is no time of day") from None


def _log(path: Path, name: str) -> str:
    """Returns the text of a log; empty where no log exists, as in a run that ended before its first step."""
    begun = any((path / each).exists() for each in (*_LOGS, "checkpoints"))
    return read_text(path / name) if begun else ""


def _state(path: Path, head: Head | None, epochs: list[Epoch], problems: list[str]) -> tuple[State, str | None]:
    if being_written(path):
        return "running", "a process is writing to it"
    ended: tuple[State, str] | None = None
    with _noted(problems):
        ended = _outcome(path) or _stop(path)
    if ended and ended[0] == "failed":
        return ended
    if epochs and head and epochs[-1].step > head.total_steps:
        problems.append(f"metrics.jsonl has {epochs[-1].step} steps, and the run has {head.total_steps}")
    if problems or head is None:
        return "damaged", "; ".join(problems)
    newest = newest_checkpoint(path)
    # Without its last checkpoint, a resume trains the last epoch again; without any, the user has removed them.
    if epochs and epochs[-1].step == head.total_steps and newest in (head.total_steps, None):
        return "finished", None
    how = f"can be resumed {'from its beginning' if newest is None else f'at step {newest}'}"
    if head.comparison is not None:
        how = "'lrtrain compare --resume' trains it again, with what else its comparison lacks"
    return ended or ("interrupted", how)


def _outcome(path: Path) -> tuple[State, str] | None:
    """Returns how a run of a comparison ended and why; None if it did not end before its last step."""
    values = read_json(path / "outcome.json") if (path / "outcome.json").exists() else {}
    if not isinstance(values, dict) or (values and "trial" not in values):
        raise InvalidFileError("outcome.json is not that of a run")
    states: tuple[State, ...] = ("stopped", "diverged", "failed")
    state = next((each for each in states if values.get("state") == each), None)
    return (state, short(str(values.get("reason")), 500)) if state else None


def _stop(path: Path) -> tuple[State, str] | None:
    """Returns the state of a run that a plugin stopped, and why; None if its newest checkpoint does not say so."""
    step = newest_checkpoint(path)
    # Orbax writes the JSON item of a checkpoint here; to import Orbax takes a second.
    item = RunDir(path).checkpoints / f"step_{step}" / "progress" / "metadata"
    values = read_json(item) if step is not None and item.exists() else {}
    reason = values.get("stopped") if isinstance(values, dict) else None
    return ("stopped", short(str(reason), 500)) if reason is not None else None


def _size(path: Path) -> int:
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            # A file may be removed meanwhile.
            with contextlib.suppress(OSError):
                total += Path(directory, name).lstat().st_size
    return total
