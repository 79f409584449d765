"""Removing a run: its known files are removed, and everything else in its directory stays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lrtrain.errors import RunDirError, TrainingError
from lrtrain.runs.directory import RunDir
from lrtrain.runs.lock import being_written, writing
from lrtrain.runs.run_config import is_config
from lrtrain.strict_json import InvalidFileError, read_json

_CONFIG = "config.json"
_FILES = (_CONFIG, "metrics.jsonl", "steps.csv", "learning_rate.png", "outcome.json", "test.json")
# An incomplete checkpoint, or part of one, has a suffix.
_WHOLE_OR_NOT = r"(\.orbax-checkpoint-tmp[^/]*)?"
_CHECKPOINT = rf"checkpoints/(step_\d+{_WHOLE_OR_NOT}|damaged_step_\d+([-_]\d+)?)"
_ITEM = rf"{_CHECKPOINT}/(state|progress|learning_rates|metrics|descriptor){_WHOLE_OR_NOT}"
# OCDBT's and Zarr's data, as TensorStore names them; each process of a distributed run has a folder of its own.
_DATABASE = rf"{_ITEM}(/ocdbt\.process_\d+)?"
_ARRAY = rf"{_ITEM}/checkpoint"


def _pattern(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.ASCII)


# Both match the path relative to the run's directory.
_OWN_DIRECTORIES = _pattern(
    "checkpoints", _CHECKPOINT, _ITEM, _DATABASE, rf"{_DATABASE}/d", _ARRAY, rf"{_ITEM}/array_metadatas"
)
_OWN_FILES = _pattern(
    *map(re.escape, _FILES),
    # The temporary name of a file, which remains when the process is killed.
    rf"\.({'|'.join(map(re.escape, _FILES))})\.\d+",
    rf"{_CHECKPOINT}/(_CHECKPOINT_METADATA|commit_success\.txt)",
    rf"{_ITEM}/(_METADATA|_CHECKPOINT_METADATA|_sharding|_strings\.json|metadata|metrics|descriptor\.pbtxt)",
    rf"{_ITEM}/(commit_success\.txt|array_metadatas/process_\d+)",
    # The temporary name of a file of TensorStore.
    rf"({_DATABASE}/(manifest\.ocdbt|d/[0-9a-f]{{32}})|{_ARRAY}/(\.zarray|\d+(\.\d+)*))(\.__lock)?",
)


def check_removable(path: Path) -> None:
    """Raises RunDirError, with the reason, when a directory may not be removed as a run."""
    if path.is_symlink():
        raise RunDirError(f"{path} is a symbolic link: name the directory that it points to")
    try:
        is_run = is_config(read_json(RunDir(path).config))
    except InvalidFileError as error:
        raise RunDirError(f"{path} is not removed: {error}, so it may not be a run") from None
    if not is_run:
        raise RunDirError(f"{path} is not removed: its config.json is not that of a run")
    if being_written(path):
        raise RunDirError(f"{path} is not removed: a process is writing to it")


def remove_run(path: Path) -> tuple[int, list[Path]]:
    """Removes the files of a run, and its directory unless something else is in it.

    Returns the size of the removed files in bytes, and the files and directories that are not known to be the run's.
    Raises TrainingError when the system refuses to remove a part of it, and as `check_removable` does.
    """
    check_removable(path)
    # While the lock is held, no process can resume the run.
    with writing(path):
        try:
            found = list(_remove_own(path, ""))
            kept = [each for each in found if isinstance(each, Path)]
            if not kept:
                path.rmdir()
        except OSError as error:
            raise TrainingError(f"{path} cannot be removed: {error.strerror} ({error.filename})") from error
    return sum(each for each in found if isinstance(each, int)), kept


def _remove_own(directory: Path, below: str) -> Iterator[Path | int]:
    """Removes known files and directories; yields the size of each removed file and the path of each that stays."""
    # If the system refuses a file before the configuration, the directory is still a run and can be removed later.
    for entry in sorted(directory.iterdir(), key=lambda each: (each.name == _CONFIG, each.name)):
        name = f"{below}{entry.name}"
        if entry.is_symlink():
            yield entry
        elif entry.is_dir() and _OWN_DIRECTORIES.fullmatch(name):
            found = list(_remove_own(entry, f"{name}/"))
            yield from found
            if not any(isinstance(each, Path) for each in found):
                entry.rmdir()
        elif entry.is_file() and _OWN_FILES.fullmatch(name):
            yield entry.stat().st_size
            entry.unlink()
        else:
            yield entry
