"""The builder that prepares Fashion-MNIST; imported only when the data set is named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds  # noqa: TID253 -- this module is imported only when the data is to be prepared
from numpy.typing import NDArray

from lrtrain_fashion_mnist import idx

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class FashionMnist(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[misc]
    """Fashion-MNIST from the files in this package, in their order.

    Not registered with tensorflow-datasets, whose own ``fashion_mnist`` it would collide with. A ``Tensor`` rather
    than an ``Image``: preparing an ``Image`` needs TensorFlow to encode PNG. As bytes, and not as a list of integers,
    the images are prepared and read in less than half the time.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="60,000 training and 10,000 test images of clothes, 28 by 28 pixels, grey, in ten classes.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(
                        shape=(28, 28, 1), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES
                    ),
                    "label": tfds.features.ClassLabel(names=CLASS_NAMES),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://github.com/zalandoresearch/fashion-mnist",
            citation="Xiao, Rasul, Vollgraf: Fashion-MNIST, 2017, arXiv:1708.07747",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: object) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del dl_manager  # Nothing is downloaded.
        # Both are read here, and not lazily, so that damaged files are found before anything is written.
        train = idx.read_split(idx.TRAIN_IMAGES, idx.TRAIN_LABELS)
        test = idx.read_split(idx.TEST_IMAGES, idx.TEST_LABELS)
        return {"train": self._generate_examples(*train), "test": self._generate_examples(*test)}

    def _generate_examples(
        self, images: NDArray[np.uint8], labels: NDArray[np.uint8]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"image": image, "label": int(label)}
