"""The examples of a split of a prepared data set, decoded some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrain.data.prepare import tfds, unreadable
from lrtrain.data.types import Split
from lrtrain.errors import DataError

# Examples that are held in memory as Python objects at a time.
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class OpenedData:
    """A prepared data set and the names of the two features that are used."""

    builder: Any
    directory: Path
    image: str
    label: str

    @classmethod
    def of(cls, builder: Any, directory: Path) -> OpenedData:
        """Finds the two features of a builder's data; raises DataError when it is not for image classification."""
        return cls(builder, directory, _image_key(builder.info, directory), _label_key(builder.info, directory))

    def names(self) -> tuple[str, str]:
        """Returns the name with the config, and the version."""
        info = self.builder.info
        return f"{info.name}/{info.config_name}" if info.config_name else info.name, str(info.version)

    def classes(self) -> tuple[int, tuple[str, ...]]:
        """Returns the number of classes and their names."""
        classes = self.builder.info.features[self.label]
        return classes.num_classes, tuple(classes.names)

    def test_name(self) -> str:
        """Returns the name of the split that is tested on."""
        return _test_name(self.builder.info, self.directory)

    def examples(self, name: str) -> Examples:
        """Opens a split; raises DataError when there is none of that name, or it is empty."""
        splits = self.builder.info.splits
        if name not in splits:
            raise DataError(f"the data in {self.directory} has no split '{name}', only {', '.join(splits)}")
        examples = Examples(self, name)
        if not len(examples):
            raise DataError(f"{examples.where} is empty")
        return examples

    def split(self, name: str) -> Split:
        """Reads a split into memory."""
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

    def __init__(self, source: OpenedData, split: str) -> None:
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
