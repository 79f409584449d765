"""What tensorflow-datasets has left on the disk, found without importing it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from lrtrain.errors import DataError

_REFERENCE = re.compile(r"(?P<name>[A-Za-z]\w*)(/(?P<config>\w[\w.\-]*))?(:(?P<version>\d+\.\d+\.\d+))?")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Reference:
    """A data set as a user names it: ``name``, ``name/config``, ``name:1.0.0`` or ``name/config:1.0.0``."""

    name: str
    config: str | None = None
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Reads the name of a data set, in which ``-`` is ``_`` before the config; raises DataError when it is none."""
        name, separator, rest = text.partition("/")
        match = _REFERENCE.fullmatch(name.replace("-", "_") + separator + rest)
        if match is None:
            raise DataError(
                f"'{text}' is no name of a data set: write it as fashion_mnist, name/config or name/config:1.0.0"
            )
        return cls(**match.groupdict())

    def __str__(self) -> str:
        config = f"/{self.config}" if self.config else ""
        version = f":{self.version}" if self.version else ""
        return f"{self.name}{config}{version}"


def tfds_dir() -> Path:
    """Returns the directory in which tensorflow-datasets prepares data unless told otherwise."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser().absolute()


def find(reference: Reference, root: Path) -> Path | None:
    """Returns the directory of the newest prepared version, if there is one; raises DataError for several configs."""
    folder = root / reference.name
    if reference.config:
        return _newest(folder / reference.config, reference.version)
    plain = _newest(folder, reference.version)
    if plain is not None:
        return plain
    configs = {path.name: found for path in _folders(folder) if (found := _newest(path, reference.version))}
    if len(configs) > 1:
        names = ", ".join(f"{reference.name}/{name}" for name in sorted(configs))
        raise DataError(f"'{reference}' has several configs in {root}: name one of {names}")
    return next(iter(configs.values()), None)


def _newest(folder: Path, version: str | None = None) -> Path | None:
    versions = [
        path
        for path in _folders(folder)
        if _VERSION.fullmatch(path.name) and version in {None, path.name} and is_prepared(path)
    ]
    return max(versions, key=lambda path: [int(part) for part in path.name.split(".")], default=None)


def is_prepared(directory: Path) -> bool:
    """Returns whether ``directory`` is complete: tensorflow-datasets writes both files before it renames it."""
    return (directory / "dataset_info.json").is_file() and (directory / "features.json").is_file()


def prepared_names(root: Path) -> list[str]:
    """Returns the data sets that are prepared in ``root``, with their configs."""
    folders = [each for folder in _folders(root) for each in (folder, *_folders(folder))]
    return sorted(folder.relative_to(root).as_posix() for folder in folders if _newest(folder))


def _folders(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []


def fingerprint(directory: Path) -> dict[str, object]:
    """Returns the path of ``directory`` and the size and time of change (ns) of every file below it, ready for JSON.

    It costs no reading, and differs as soon as a file is replaced, cut short or rewritten. Raises OSError when the
    directory is not there.
    """
    walk = os.walk(directory, onerror=_raise, followlinks=True)
    paths = sorted(path for folder, _, names in walk for name in names if (path := Path(folder, name)).is_file())
    found = {path.relative_to(directory).as_posix(): path.stat() for path in paths}
    files = {name: [status.st_size, status.st_mtime_ns] for name, status in found.items()}
    return {"directory": str(directory), "files": files}


def _raise(error: OSError) -> NoReturn:
    raise error
