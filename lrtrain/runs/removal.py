"""Removing a run: the files that are known to be its own go, and everything else in its directory stays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lrtrain.errors import RunDirError, TrainingError
from lrtrain.runs.directory import RunDir
from lrtrain.runs.lock import being_written, writing
from lrtrain.runs.parsing import is_config
from lrtrain.strict_json import InvalidFileError, read_json

_CONFIG = "config.json"
_FILES = (_CONFIG, "metrics.jsonl", "steps.csv", "learning_rate.png", "outcome.json")
# A suffix says that a checkpoint, or a part of one, is not whole.
_WHOLE_OR_NOT = r"(\.orbax-checkpoint-tmp[^/]*)?"
_CHECKPOINT = rf"checkpoints/(step_\d+{_WHOLE_OR_NOT}|damaged_step_\d+([-_]\d+)?)"
_ITEM = rf"{_CHECKPOINT}/(state|progress|learning_rates|metrics|descriptor){_WHOLE_OR_NOT}"
# OCDBT's and Zarr's data, as TensorStore names them; each process of a distributed run has a folder of its own.
_DATABASE = rf"{_ITEM}(/ocdbt\.process_\d+)?"
_ARRAY = rf"{_ITEM}/checkpoint"


def _pattern(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.ASCII)


# Both by the path below the run's directory.
_OWN_DIRECTORIES = _pattern(
    "checkpoints", _CHECKPOINT, _ITEM, _DATABASE, rf"{_DATABASE}/d", _ARRAY, rf"{_ITEM}/array_metadatas"
)
_OWN_FILES = _pattern(
    *map(re.escape, _FILES),
    # A file is written under such a name first, which stays when the process is killed.
    rf"\.({'|'.join(map(re.escape, _FILES))})\.\d+",
    rf"{_CHECKPOINT}/(_CHECKPOINT_METADATA|commit_success\.txt)",
    rf"{_ITEM}/(_METADATA|_CHECKPOINT_METADATA|_sharding|_strings\.json|metadata|metrics|descriptor\.pbtxt)",
    rf"{_ITEM}/(commit_success\.txt|array_metadatas/process_\d+)",
    # TensorStore writes under the name of a lock first.
    rf"({_DATABASE}/(manifest\.ocdbt|d/[0-9a-f]{{32}})|{_ARRAY}/(\.zarray|\d+(\.\d+)*))(\.__lock)?",
)


@dataclass(frozen=True)
class Removal:
    """What has come of removing a run.

    Args:
      freed: bytes in the files that are gone.
      kept: what was in its directory and is not known to be its own, with all that is below.
    """

    freed: int
    kept: tuple[Path, ...]


def check_removable(path: Path) -> None:
    """Raises RunDirError when a directory may not be removed as a run; the sentence says why."""
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


def remove_run(path: Path) -> Removal:
    """Removes a run's own files, and its directory unless something else is in it.

    Raises:
      RunDirError: it may not be removed, see `check_removable`; nothing has been.
      TrainingError: the system does not let a part of it be removed.
    """
    check_removable(path)
    # No process can begin to resume it meanwhile.
    with writing(path):
        try:
            found = list(_remove_own(path, ""))
            kept = tuple(each for each in found if isinstance(each, Path))
            if not kept:
                path.rmdir()
        except OSError as error:
            raise TrainingError(f"{path} cannot be removed: {error.strerror} ({error.filename})") from error
    return Removal(sum(each for each in found if isinstance(each, int)), kept)


def _remove_own(directory: Path, below: str) -> Iterator[Path | int]:
    """Removes what is known; yields the size of each file that is gone, and the path of all that stays."""
    for entry in sorted(directory.iterdir(), key=_config_last):
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


def _config_last(entry: Path) -> tuple[bool, str]:
    # What the system refuses in between leaves a run, which can be removed once that is put right.
    return entry.name == _CONFIG, entry.name
