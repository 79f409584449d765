"""Removing a run: only a directory that is one, with nothing in it that a run does not write."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from lrtrain.errors import RunDirError, TrainingError
from lrtrain.run_dir import RunDir
from lrtrain.run_lock import being_written, writing
from lrtrain.run_parsing import DamagedError, is_config, read_json

_FILES = ("config.json", "metrics.jsonl", "steps.csv", "learning_rate.png", "outcome.json")
# A file is written under such a name first, which stays when the process is killed.
_UNFINISHED = re.compile(rf"\.({'|'.join(map(re.escape, _FILES))})\.\d+", re.ASCII)
# What Orbax and the items of `lrtrain.checkpoint` have in them is theirs; a suffix says that they are not whole.
_CHECKPOINT = re.compile(r"step_\d+(\.orbax-checkpoint-tmp.*)?|damaged_step_\d+(_\d+)?", re.ASCII)
_ITEM = re.compile(
    r"(state|progress|learning_rates|metrics|descriptor|_CHECKPOINT_METADATA|commit_success\.txt)"
    r"(\.orbax-checkpoint-tmp.*)?"
)


def check_removable(path: Path) -> None:
    """Raises RunDirError when a directory may not be removed as a run; the sentence says why."""
    if path.is_symlink():
        raise RunDirError(f"{path} is a symbolic link: name the directory that it points to")
    try:
        is_run = is_config(read_json(path / "config.json"))
    except DamagedError as error:
        raise RunDirError(f"{path} is not removed: {error}, so it may not be a run") from None
    if not is_run:
        raise RunDirError(f"{path} is not removed: its config.json is not that of a run")
    for foreign in _foreign(path):
        raise RunDirError(
            f"{path} is not removed: a run does not write {foreign.relative_to(path)}; move it away first"
        )
    if being_written(path):
        raise RunDirError(f"{path} is not removed: a process is writing to it")


def remove_run(path: Path) -> None:
    """Removes a run with all its files.

    Raises:
      RunDirError: it may not be removed, see `check_removable`; nothing has been.
      TrainingError: the system does not let a part of it be removed.
    """
    check_removable(path)
    # No process can begin to resume it meanwhile.
    with writing(path):
        try:
            shutil.rmtree(path)
        except OSError as error:
            raise TrainingError(f"{path} cannot be removed: {error.strerror} ({error.filename})") from error


def _foreign(path: Path) -> Iterator[Path]:
    checkpoints = RunDir(path).checkpoints
    own = _plugin_directories(path)
    for entry in sorted(path.iterdir()):
        if entry != checkpoints and entry not in own and not _is_file(entry):
            yield entry
    if checkpoints.is_symlink():
        yield checkpoints
    elif checkpoints.exists():
        yield from _foreign_checkpoints(checkpoints)
    yield from _links(path)


def _plugin_directories(path: Path) -> set[Path]:
    """Returns where the run's plugins may have written: each in a directory of its name."""
    tables = read_json(path / "config.json")["plugins"]
    named = [table.get("plugin") for table in tables if isinstance(table, dict)] if isinstance(tables, list) else []
    own = {path / name for name in named if isinstance(name, str)}
    return {directory for directory in own if directory.is_dir() and not directory.is_symlink()}


def _is_file(entry: Path) -> bool:
    is_known = entry.name in _FILES or _UNFINISHED.fullmatch(entry.name) is not None
    return is_known and entry.is_file() and not entry.is_symlink()


def _foreign_checkpoints(checkpoints: Path) -> Iterator[Path]:
    if not checkpoints.is_dir():
        yield checkpoints
        return
    for checkpoint in sorted(checkpoints.iterdir()):
        if not _CHECKPOINT.fullmatch(checkpoint.name) or not checkpoint.is_dir():
            yield checkpoint
        elif not checkpoint.is_symlink():
            yield from (entry for entry in sorted(checkpoint.iterdir()) if not _ITEM.fullmatch(entry.name))


def _links(path: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(path):
        for name in sorted([*names, *files]):
            if (Path(directory) / name).is_symlink():
                yield Path(directory) / name
