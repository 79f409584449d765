"""Reads the four official IDX files, and takes nothing for the data that is not the data."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

import numpy as np
from numpy.typing import NDArray

from lrtrain import DataError

FILES = resources.files("lrtrain_fashion_mnist") / "files"
IMAGE_MAGIC, LABEL_MAGIC = 0x803, 0x801
CURE = "reinstall it with `pip install --force-reinstall --no-deps lrtrain-fashion-mnist`"


@dataclass(frozen=True)
class IdxFile:
    """What one file must hold: ``sha256`` is that of the uncompressed bytes, as gzip may wrap them in many ways."""

    name: str
    magic: int
    shape: tuple[int, ...]
    sha256: str


TRAIN_IMAGES = IdxFile(
    "train-images-idx3-ubyte.gz",
    IMAGE_MAGIC,
    (60_000, 28, 28),
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
)
TRAIN_LABELS = IdxFile(
    "train-labels-idx1-ubyte.gz",
    LABEL_MAGIC,
    (60_000,),
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
)
TEST_IMAGES = IdxFile(
    "t10k-images-idx3-ubyte.gz",
    IMAGE_MAGIC,
    (10_000, 28, 28),
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
)
TEST_LABELS = IdxFile(
    "t10k-labels-idx1-ubyte.gz",
    LABEL_MAGIC,
    (10_000,),
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)


def read_split(images: IdxFile, labels: IdxFile) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Reads one split.

    Returns:
      Images ``uint8[N, 28, 28, 1]`` and labels ``uint8[N]``, in the order of the files.

    Raises:
      DataError: a file is missing, cut short, damaged or altered.
    """
    return read_idx(images)[..., np.newaxis], read_idx(labels)


def read_idx(file: IdxFile, folder: Traversable | None = None) -> NDArray[np.uint8]:
    """Reads ``file`` from ``folder`` (by default from this package) and checks its magic number, counts and sha256.

    Raises:
      DataError: the file is missing, cut short, damaged or altered.
    """
    path = (folder or FILES) / file.name
    try:
        contents = gzip.decompress(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"the data file {path} is missing: {CURE}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"the data file {path} is cut short or damaged ({error}): {CURE}") from error
    _check(file, path, contents)
    return np.frombuffer(contents, np.uint8, offset=_header_size(file)).reshape(file.shape)


def _header_size(file: IdxFile) -> int:
    return 4 * (1 + len(file.shape))


def _check(file: IdxFile, path: Traversable, contents: bytes) -> None:
    """The magic number and the counts say what is wrong; the sha256 lets nothing else through."""
    expected = (file.magic, *file.shape)
    header = contents[: _header_size(file)].ljust(_header_size(file), b"\0")
    found = tuple(np.frombuffer(header, ">i4").tolist())
    if found != expected:
        raise DataError(f"the data file {path} begins with {found}, not with the IDX header {expected}: {CURE}")
    digest = hashlib.sha256(contents).hexdigest()
    if digest != file.sha256:
        raise DataError(f"the data file {path} is altered (sha256 {digest}, not {file.sha256}): {CURE}")
