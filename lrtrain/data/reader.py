"""Reads a prepared data set into arrays: tensorflow-datasets on ArrayRecord, without TensorFlow."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lrtrain.data import disk
from lrtrain.data.examples import OpenedData
from lrtrain.data.prepare import quiet, tfds, unreadable
from lrtrain.data.stream import Stream, StreamedDataset
from lrtrain.data.types import Dataset, digest_of
from lrtrain.errors import DataError


def read(directory: Path) -> Dataset:
    """Reads the data set that is prepared in ``directory``.

    Raises:
      DamagedError: a file is missing, cut short or altered.
      TrainingError: the system does not let a file be read at the moment.
      DataError: it is not stored as ArrayRecord, or it is not for image classification.
    """
    with _opened(directory) as source:
        train, test = source.split("train"), source.split(source.test_name())
        _check_alike(train.images.shape[1:], test.images.shape[1:], directory)
        digests = {
            name: digest_of([(split.images, split.labels)]) for name, split in (("train", train), ("test", test))
        }
        return Dataset(*source.names(), train, test, *source.classes(), digests)


def stream(directory: Path, digests: Mapping[str, str] | None = None) -> StreamedDataset:
    """Reads the test examples of the data set that is prepared in ``directory``, and opens the training examples.

    Args:
      directory: where it is.
      digests: those of its examples, if they are known; else all training examples are read once for theirs.

    Raises:
      DamagedError: a file is missing, cut short or altered.
      TrainingError: the system does not let a file be read at the moment.
      DataError: as for `read`, as far as it shows in the first training example.
    """
    with _opened(directory) as source:
        examples = source.examples("train")
        train, test = Stream(examples, examples.first_shape()), source.split(source.test_name())
        _check_alike(train.image_shape, test.images.shape[1:], directory)
        if digests is None:
            read_once = digest_of(examples.parts(train.image_shape))
            digests = {"train": read_once, "test": digest_of([(test.images, test.labels)])}
        return StreamedDataset(*source.names(), train, test, *source.classes(), digests)


def train_bytes(directory: Path) -> int:
    """Returns the size of the decoded training images of the data set that is prepared in ``directory``.

    Raises:
      DamagedError: a file is missing, cut short or altered.
      TrainingError: the system does not let a file be read at the moment.
      DataError: as for `stream`.
    """
    with _opened(directory) as source:
        examples = source.examples("train")
        return len(examples) * math.prod(examples.first_shape())


def _check_format(directory: Path) -> None:
    try:
        formats = disk.file_formats(directory)
    except (OSError, ValueError) as error:
        raise unreadable(directory, error) from error
    if "array_record" not in formats:
        raise DataError(
            f"the data in {directory} is stored as {formats[0]}, which cannot be read without TensorFlow: prepare it "
            "in another directory with `tfds build NAME --file_format=array_record --data_dir=DIR`"
        )


def _open(directory: Path) -> Any:
    try:
        return tfds().builder_from_directory(directory, file_format="array_record")
    # What is raised depends on where a file is damaged: protobuf, JSON, numpy and the file system have a say.
    except Exception as error:
        raise unreadable(directory, error) from error


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[OpenedData]:
    _check_format(directory)
    with quiet():
        yield OpenedData.of(_open(directory), directory)


def _check_alike(train: tuple[int, ...], test: tuple[int, ...], directory: Path) -> None:
    if train != test:
        raise DataError(f"the data in {directory} has training images of size {train} and test images of {test}")
