"""Reads a prepared data set into arrays: tensorflow-datasets on ArrayRecord, without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrain.data import disk
from lrtrain.data.prepare import DamagedError, quiet, reason, tfds
from lrtrain.data.types import Dataset, Split
from lrtrain.errors import DataError

# Examples that are held in memory as Python objects at a time.
_CHUNK = 4096


def read(directory: Path) -> Dataset:
    """Reads the data set that is prepared in ``directory``.

    Raises:
        DamagedError: a file is missing, cut short or altered.
        DataError: it is not stored as ArrayRecord, or it is not for image classification.
    """
    _check_format(directory)
    with quiet():
        builder = _open(directory)
        return _dataset(builder, directory)


def _check_format(directory: Path) -> None:
    try:
        formats = disk.file_formats(directory)
    except (OSError, ValueError) as error:
        raise DamagedError(directory, reason(error)) from error
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
        raise DamagedError(directory, reason(error)) from error


def _dataset(builder: Any, directory: Path) -> Dataset:
    info = builder.info
    image, label = _image_key(info, directory), _label_key(info, directory)
    classes = info.features[label]
    train = _split(builder, "train", image, label, directory)
    test = _split(builder, _test_name(info, directory), image, label, directory)
    _check_alike(train, test, directory)
    return Dataset(
        name=f"{info.name}/{info.config_name}" if info.config_name else info.name,
        version=str(info.version),
        train=train,
        test=test,
        num_classes=classes.num_classes,
        class_names=tuple(classes.names),
    )


def _image_key(info: Any, directory: Path) -> str:
    kinds = (tfds().features.Image, tfds().features.Tensor)

    def fits(feature: Any) -> bool:
        return isinstance(feature, kinds) and len(feature.shape) == 3 and feature.np_dtype == np.uint8

    return _key(info, directory, fits, "an image (Image or Tensor, uint8[height, width, channels])")


def _label_key(info: Any, directory: Path) -> str:
    kind = tfds().features.ClassLabel

    def fits(feature: Any) -> bool:
        return isinstance(feature, kind) and bool(feature.num_classes)

    return _key(info, directory, fits, "a label (ClassLabel with its number of classes)")


def _key(info: Any, directory: Path, fits: Callable[[Any], bool], what: str) -> str:
    """Finds the one feature that fits; among several, the one that the data set itself calls its input or target."""
    features = dict(sorted(info.features.items())) if hasattr(info.features, "items") else {}
    found = [name for name, feature in features.items() if fits(feature)]
    supervised = [name for name in found if name in (info.supervised_keys or ())]
    if len(found) == 1 or len(supervised) == 1:
        return str((supervised or found)[0])
    problem = f"several: {', '.join(found)}" if found else f"none among {', '.join(features) or 'its features'}"
    raise DataError(f"the data in {directory} is not for image classification: it needs {what} and has {problem}")


def _test_name(info: Any, directory: Path) -> str:
    name = next((name for name in ("test", "validation") if name in info.splits), None)
    if name is None:
        raise DataError(f"the data in {directory} has no split 'test' or 'validation', only {', '.join(info.splits)}")
    return name


def _split(builder: Any, name: str, image: str, label: str, directory: Path) -> Split:
    if name not in builder.info.splits:
        raise DataError(f"the data in {directory} has no split '{name}', only {', '.join(builder.info.splits)}")
    examples = _Examples(builder, name, directory)
    if not len(examples):
        raise DataError(f"the split '{name}' of the data in {directory} is empty")
    images, labels = _fill(examples, image, label)
    _check_labels(labels, builder.info.features[label].num_classes, f"the split '{name}' of the data in {directory}")
    return Split(images, labels)


class _Examples:
    """The examples of a split, a slice at a time, with every failure to read them turned into a DamagedError."""

    def __init__(self, builder: Any, split: str, directory: Path) -> None:
        self.split, self.directory = split, directory
        self._source = self._try(lambda: builder.as_data_source(split=split))

    def __len__(self) -> int:
        return len(self._source)

    def chunk(self, start: int, stop: int) -> list[dict[str, Any]]:
        examples: list[dict[str, Any]] = self._try(lambda: self._source.__getitems__(range(start, stop)))
        return examples

    def _try(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        # The native reader raises RuntimeError, the decoder of the examples whatever protobuf, zlib or PIL has.
        except Exception as error:
            raise DamagedError(self.directory, reason(error)) from error


def _fill(examples: _Examples, image: str, label: str) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Reads all examples into one array; they must have one size."""
    count = len(examples)
    shape = examples.chunk(0, 1)[0][image].shape
    images, labels = np.empty((count, *shape), np.uint8), np.empty(count, np.int32)
    for start in range(0, count, _CHUNK):
        chunk = examples.chunk(start, min(start + _CHUNK, count))
        _check_sizes({shape, *(example[image].shape for example in chunk)}, examples)
        images[start : start + len(chunk)] = [example[image] for example in chunk]
        labels[start : start + len(chunk)] = [example[label] for example in chunk]
    return images, labels


def _check_sizes(shapes: set[tuple[int, ...]], examples: _Examples) -> None:
    if len(shapes) > 1:
        first, second = sorted(shapes)[:2]
        raise DataError(
            f"the images of the split '{examples.split}' of the data in {examples.directory} differ in size "
            f"({first} and {second}): only images of one size can be used"
        )


def _check_labels(labels: NDArray[np.int32], num_classes: int, where: str) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        wrong = low if low < 0 else high
        raise DataError(f"{where} has the label {wrong}, and labels are 0 to {num_classes - 1}: it cannot be used")


def _check_alike(train: Split, test: Split, directory: Path) -> None:
    sizes = train.images.shape[1:], test.images.shape[1:]
    if sizes[0] != sizes[1]:
        raise DataError(f"the data in {directory} has training images of size {sizes[0]} and test images of {sizes[1]}")
