"""Reads a prepared data set into arrays: tensorflow-datasets on ArrayRecord, without TensorFlow."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from lrtrain.data.examples import Examples, OpenedData
from lrtrain.data.prepare import quiet, tfds, unreadable
from lrtrain.data.types import Dataset, Split
from lrtrain.errors import DataError


def read(directory: Path) -> Dataset:
    """Reads the data set that is prepared in ``directory``.

    Raises:
      DamagedError: a file is missing, cut short or altered.
      TrainingError: the system does not let a file be read at the moment.
      DataError: it is not stored as ArrayRecord, or it is not for image classification.
    """
    with _opened(directory) as source:
        train = source.examples("train").all()
        test = _test(source, train.inputs.shape[1:])
        return source.dataset(train, test, {"train": train.digest(), "test": test.digest()})


def decoding(directory: Path) -> Dataset[Examples]:
    """Reads the test examples of the data set that is prepared in ``directory``, and opens the training examples.

    Those are decoded some at a time, by whoever iterates over them. Raises what `read` does, as far as it shows in the
    first training example.
    """
    with _opened(directory) as source:
        train = source.examples("train")
        return source.dataset(train, _test(source, train.first_shape()), {})


def train_bytes(directory: Path) -> int:
    """Returns the size of the decoded training images that are prepared in ``directory``; raises as `decoding` does."""
    with _opened(directory) as source:
        return source.examples("train").decoded_bytes()


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[OpenedData]:
    _check_format(directory)
    with quiet():
        try:
            builder = tfds().builder_from_directory(directory, file_format="array_record")
        # What is raised depends on where a file is damaged: protobuf, JSON, numpy and the file system have a say.
        except Exception as error:
            raise unreadable(directory, error) from error
        yield OpenedData.of(builder, directory)


def _check_format(directory: Path) -> None:
    try:
        info = json.loads((directory / "dataset_info.json").read_bytes())
        if not isinstance(info, dict):
            raise ValueError("dataset_info.json is not a JSON object")
    except (OSError, ValueError) as error:
        raise unreadable(directory, error) from error
    # Data prepared by old versions of tensorflow-datasets does not say: it is tfrecord.
    formats = [info.get("fileFormat") or "tfrecord", *(info.get("alternativeFileFormats") or [])]
    if "array_record" not in formats:
        raise DataError(
            f"the data in {directory} is stored as {formats[0]}, which cannot be read without TensorFlow: prepare it "
            "in another directory with `tfds build NAME --file_format=array_record --data_dir=DIR`"
        )


def _test(source: OpenedData, shape: tuple[int, ...]) -> Split:
    """Reads the test examples; their images must have the shape of those that are trained on."""
    test = source.examples("test", "validation").all()
    if shape != test.inputs.shape[1:]:
        raise DataError(
            f"the data in {source.directory} has training images of size {shape} and test images of "
            f"{test.inputs.shape[1:]}"
        )
    return test
