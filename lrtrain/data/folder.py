"""Images in folders by class: ``flowers/train/rose/1.png``; the name of a class is that of its folder.

The splits are ``train``, ``test`` and, where there is one, ``validation`` (or ``val``). Each has the same classes,
numbered in the order of their names. Files are read in the order of theirs; what begins with a dot is left out.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lrtrain.data.pictures import Opened, channels_of, pixels_of
from lrtrain.data.types import Dataset, Split
from lrtrain.errors import DataError, LrtrainError, TrainingError
from lrtrain.files import has_utf8_name
from lrtrain.system_refusal import refusal

_VALIDATION = ("validation", "val")
_LAYOUT = "expected train/CLASS/IMAGE and test/CLASS/IMAGE"


def find_images(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """Returns the files of images below a folder, by split and class, without opening any.

    Raises:
      DataError: there is no split ``train`` or ``test``, or one has no class, no image in a class, or other classes
        than ``train``.
    """
    names = {path.name for path in _entries(folder) if path.is_dir()}
    for name in ("train", "test"):
        if name not in names:
            has = f"holds the folders {', '.join(sorted(names))}" if names else "holds no folders"
            raise DataError(f"{folder} {has}, and no '{name}': {_LAYOUT}")
    validation = [name for name in _VALIDATION if name in names]
    if len(validation) > 1:
        raise DataError(f"{folder} has a folder 'validation' and a folder 'val': leave one of them")
    found = {"train": _classes(folder / "train"), "test": _classes(folder / "test")}
    if validation:
        found["validation"] = _classes(folder / validation[0])
    for classes in found.values():
        _check_classes(found["train"], classes)
    return found


def read_images(folder: Path) -> Dataset:
    """Returns the data set of a folder: images ``uint8[N, H, W, C]`` of one size and labels ``int32[N]``.

    Raises:
      DataError: as `find_images`, or a file is no image, or the images differ in size.
      TrainingError: the system does not let a file be read at the moment.
    """
    found = find_images(folder)
    opened = {part: [_opened(path) for paths in classes.values() for path in paths] for part, classes in found.items()}
    form = channels_of(each for images in opened.values() for each in images)
    splits = {
        part: Split(pixels_of(opened[part], *form), _labels([len(paths) for paths in classes.values()]))
        for part, classes in found.items()
    }
    digests = {part: split.digest() for part, split in splits.items()}
    names = tuple(found["train"])
    return Dataset(
        folder.name, "", splits["train"], splits["test"], len(names), names, digests, splits.get("validation")
    )


def _classes(split: Path) -> dict[str, list[Path]]:
    found = {path.name: _files(path) for path in _entries(split) if path.is_dir()}
    if not found:
        raise DataError(f"{split} holds no folders of classes: {_LAYOUT}")
    return found


def _files(folder: Path) -> list[Path]:
    paths = _entries(folder)
    if not paths:
        raise DataError(f"{folder} holds no images: {_LAYOUT}")
    for path in paths:
        if path.is_dir():
            raise DataError(f"{path} is a folder within that of a class: {_LAYOUT}")
    return paths


def _entries(folder: Path) -> list[Path]:
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error
    for path in paths:
        if not has_utf8_name(path):
            raise DataError(f"{str(path)!r} is refused: its name is not UTF-8, so rename it")
    return paths


def _check_classes(train: dict[str, list[Path]], classes: dict[str, list[Path]]) -> None:
    missing, more = sorted(train.keys() - classes.keys()), sorted(classes.keys() - train.keys())
    if missing or more:
        splits = [next(iter(each.values()))[0].parents[1] for each in (train, classes)]
        has, lacks = splits if missing else reversed(splits)
        raise DataError(f"{lacks} has no class '{(missing or more)[0]}', and {has} has: expected the same classes")


def _labels(counts: Sequence[int]) -> Any:
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def _opened(path: Path) -> Opened:
    return str(path), functools.partial(_image, path)


@contextlib.contextmanager
def _image(path: Path) -> Iterator[Any]:
    """Opens an image with Pillow until the end of the block; whatever fails in it is of that file."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            yield image
    except LrtrainError:
        raise
    # Each decoder raises what it likes.
    except Exception as error:
        if refused := refusal(error):
            raise TrainingError(f"{path} cannot be read at the moment ({refused}): try again later") from error
        raise DataError(
            f"{path} is no image that can be read ({type(error).__name__}): remove it, or save it again as PNG"
        ) from error
