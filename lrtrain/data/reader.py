"""Reads a prepared data set into arrays: tensorflow-datasets on ArrayRecord, without TensorFlow."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrain.data import disk
from lrtrain.data.prepare import quiet, tfds, unreadable
from lrtrain.data.stream import Stream, StreamedDataset
from lrtrain.data.types import Dataset, Split, digest_of
from lrtrain.errors import DataError

# Examples that are held in memory as Python objects at a time.
_CHUNK = 4096


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
def _opened(directory: Path) -> Iterator[_Source]:
    _check_format(directory)
    with quiet():
        builder = _open(directory)
        yield _Source(builder, directory, _image_key(builder.info, directory), _label_key(builder.info, directory))


@dataclass(frozen=True, eq=False)
class _Source:
    """A prepared data set and the names of its two features that are of use."""

    builder: Any
    directory: Path
    image: str
    label: str

    def names(self) -> tuple[str, str]:
        """Returns the name with the config, and the version."""
        info = self.builder.info
        return f"{info.name}/{info.config_name}" if info.config_name else info.name, str(info.version)

    def classes(self) -> tuple[int, tuple[str, ...]]:
        """Returns the number of classes and their names."""
        classes = self.builder.info.features[self.label]
        return classes.num_classes, tuple(classes.names)

    def test_name(self) -> str:
        return _test_name(self.builder.info, self.directory)

    def examples(self, name: str) -> Examples:
        splits = self.builder.info.splits
        if name not in splits:
            raise DataError(f"the data in {self.directory} has no split '{name}', only {', '.join(splits)}")
        examples = Examples(self, name)
        if not len(examples):
            raise DataError(f"{examples.where} is empty")
        return examples

    def split(self, name: str) -> Split:
        return self.examples(name).all()


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


class Examples:
    """The examples of a split; every failure to read them becomes `unreadable`'s error."""

    def __init__(self, source: _Source, split: str) -> None:
        self.where = f"the split '{split}' of the data in {source.directory}"
        self._source = source
        self._num_classes = source.classes()[0]
        self._records = self._try(lambda: source.builder.as_data_source(split=split))

    def __len__(self) -> int:
        return len(self._records)

    def first_shape(self) -> tuple[int, ...]:
        """Returns the shape of the first image."""
        shape: tuple[int, ...] = self._decoded([0])[0][self._source.image].shape
        return shape

    def arrays(self, indices: Sequence[int], shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Returns the images and labels of some examples; the images must have one shape. Threads may share it.

        Raises:
            DamagedError: they are missing, cut short or altered.
            TrainingError: the system does not let them be read at the moment.
            DataError: an image has another shape, or a label is no class.
        """
        images, labels = self._arrays(indices, shape)
        _check_labels(labels, self._num_classes, self.where)
        return images, labels

    def all(self) -> Split:
        """Reads all examples into one array; they must have one size."""
        shape, count, begin = self.first_shape(), len(self), 0
        images, labels = np.empty((count, *shape), np.uint8), np.empty(count, np.int32)
        for some_images, some_labels in self.parts(shape):
            part = slice(begin, begin := begin + len(some_labels))
            images[part], labels[part] = some_images, some_labels
        return Split(images, labels)

    def parts(self, shape: tuple[int, ...]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
        """Yields images and labels of all examples, some at a time."""
        for start in range(0, len(self), _CHUNK):
            yield self.arrays(range(start, min(start + _CHUNK, len(self))), shape)

    def _arrays(self, indices: Sequence[int], shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        image, label = self._source.image, self._source.label
        examples = self._decoded(indices)
        self._check_sizes({shape, *(example[image].shape for example in examples)})
        images = np.stack([example[image] for example in examples])
        return images, np.array([example[label] for example in examples], np.int32)

    def _decoded(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        examples: list[dict[str, Any]] = self._try(lambda: _all_read(self._records.__getitems__(indices)))
        return examples

    def _check_sizes(self, shapes: set[tuple[int, ...]]) -> None:
        if len(shapes) > 1:
            first, second = sorted(shapes)[:2]
            raise DataError(
                f"the images of {self.where} differ in size ({first} and {second}): only images of one size can be used"
            )

    def _try(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        # The native reader raises RuntimeError, the decoder of the examples whatever protobuf, zlib or PIL has.
        except Exception as error:
            raise unreadable(self._source.directory, error) from error


def _all_read(examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the examples; one behind the end of a file that was cut is of None, and no error of the native reader."""
    if any(value is None for example in examples for value in example.values()):
        raise EOFError("a file has been cut short since it was opened")
    return examples


def _check_labels(labels: NDArray[np.int32], num_classes: int, where: str) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        wrong = low if low < 0 else high
        raise DataError(f"{where} has the label {wrong}, and labels are 0 to {num_classes - 1}: it cannot be used")


def _check_alike(train: tuple[int, ...], test: tuple[int, ...], directory: Path) -> None:
    if train != test:
        raise DataError(f"the data in {directory} has training images of size {train} and test images of {test}")
