"""The examples of a split of a prepared data set, decoded some at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrain.data.prepare import tfds, unreadable
from lrtrain.data.types import Dataset, Split, Train
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
        image = _key(builder.info, directory, _is_image, "an image (Image or Tensor, uint8[height, width, channels])")
        label = _key(builder.info, directory, _is_label, "a label (ClassLabel with its number of classes)")
        return cls(builder, directory, image, label)

    def dataset(self, train: Train, test: Split, digests: Mapping[str, str]) -> Dataset[Train]:
        """Returns the data set with its training and test examples."""
        info = self.builder.info
        name = f"{info.name}/{info.config_name}" if info.config_name else info.name
        classes = info.features[self.label]
        return Dataset(name, str(info.version), train, test, classes.num_classes, tuple(classes.names), digests)

    def examples(self, *names: str) -> Examples:
        """Opens the first of some splits that there is; raises DataError when there is none, or it is empty."""
        splits = self.builder.info.splits
        name = next((name for name in names if name in splits), None)
        if name is None:
            wanted = " or ".join(f"'{name}'" for name in names)
            raise DataError(f"the data in {self.directory} has no split {wanted}, only {', '.join(splits)}")
        examples = Examples(self, name)
        if not len(examples):
            raise DataError(f"{examples.where} is empty")
        return examples


def _is_image(feature: Any) -> bool:
    kinds = (tfds().features.Image, tfds().features.Tensor)
    return isinstance(feature, kinds) and len(feature.shape) == 3 and feature.np_dtype == np.uint8


def _is_label(feature: Any) -> bool:
    return isinstance(feature, tfds().features.ClassLabel) and bool(feature.num_classes)


def _key(info: Any, directory: Path, fits: Callable[[Any], bool], what: str) -> str:
    """Finds the one feature that fits; among several, the one that the data set itself calls its input or target."""
    features = dict(sorted(info.features.items())) if hasattr(info.features, "items") else {}
    found = [name for name, feature in features.items() if fits(feature)]
    supervised = [name for name in found if name in (info.supervised_keys or ())]
    if len(found) == 1 or len(supervised) == 1:
        return str((supervised or found)[0])
    problem = f"several: {', '.join(found)}" if found else f"none among {', '.join(features) or 'its features'}"
    raise DataError(f"the data in {directory} is not for image classification: it needs {what} and has {problem}")


class Examples:
    """The examples of a split; every failure to read them becomes `unreadable`'s error."""

    def __init__(self, source: OpenedData, split: str) -> None:
        self.where = f"the split '{split}' of the data in {source.directory}"
        self._source = source
        self._records = self._try(lambda: source.builder.as_data_source(split=split))

    def __len__(self) -> int:
        return len(self._records)

    def first_shape(self) -> tuple[int, ...]:
        """Returns the shape of the first image."""
        shape: tuple[int, ...] = self._decoded([0])[0][self._source.image].shape
        return shape

    def decoded_bytes(self) -> int:
        """Returns the size of all images once they are decoded, if they have the size of the first one."""
        return len(self) * math.prod(self.first_shape())

    def arrays(self, indices: Sequence[int], shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Returns the images and labels of some examples; the images must have one shape.

        Raises:
          DamagedError: they are missing, cut short or altered.
          TrainingError: the system does not let them be read at the moment.
          DataError: an image has another shape, or a label is no class.
        """
        examples = self._decoded(indices)
        found = [example[self._source.image] for example in examples]
        shapes = sorted({shape, *(image.shape for image in found)})
        if len(shapes) > 1:
            raise DataError(
                f"the images of {self.where} differ in size ({shapes[0]} and {shapes[1]}): only images of one size can "
                "be used"
            )
        images, labels = np.stack(found), np.array([example[self._source.label] for example in examples], np.int32)
        classes = self._source.builder.info.features[self._source.label].num_classes
        for label in (int(labels.min()), int(labels.max())):
            if not 0 <= label < classes:
                raise DataError(
                    f"{self.where} has the label {label}, and labels are 0 to {classes - 1}: it cannot be used"
                )
        return images, labels

    def all(self) -> Split:
        """Reads all examples into one array; they must have one size."""
        shape, count, begin = self.first_shape(), len(self), 0
        images, labels = np.empty((count, *shape), np.uint8), np.empty(count, np.int32)
        for some_images, some_labels in self.parts():
            part = slice(begin, begin := begin + len(some_labels))
            images[part], labels[part] = some_images, some_labels
        return Split(images, labels)

    def parts(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
        """Yields images and labels of all examples, some at a time."""
        shape = self.first_shape()
        for start in range(0, len(self), _CHUNK):
            yield self.arrays(range(start, min(start + _CHUNK, len(self))), shape)

    def _decoded(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        examples: list[dict[str, Any]] = self._try(lambda: _all_read(self._records.__getitems__(indices)))
        return examples

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
