"""Where examples come from, to be loaded or streamed, and which of them are kept or held out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from lrtrain.data import disk
from lrtrain.data.arrays import Keep, cached, cached_train_bytes, mapped
from lrtrain.data.types import Dataset, Split, drawn, leaves_of
from lrtrain.errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lrtrain.data.stream import StreamedDataset

T = TypeVar("T")


def subset(dataset: Dataset, train_size: int, seed: int = 0) -> Dataset:
    """Keeps ``train_size`` training examples, as `drawn`, and all test examples; raises DataError if it has fewer."""
    kept = _drawn(dataset.name, len(dataset.train), train_size, seed)
    return dataclasses.replace(dataset, train=dataset.train.part(kept))


def hold_out(dataset: Dataset, examples: int, seed: int) -> tuple[Dataset, Split | None]:
    """Returns a data set without some training examples (`drawn`), and these; None where none are.

    Raises UsageError when no training examples would be left.
    """
    if examples == 0:
        return dataset, None
    total = len(dataset.train)
    if examples >= total:
        raise UsageError(
            f"holdout={examples} leaves nothing of the {total} training examples of '{dataset.name}': give fewer"
        )
    held = drawn(total, examples, seed)
    kept = np.delete(np.arange(total), held)
    return dataclasses.replace(dataset, train=dataset.train.part(kept)), dataset.train.part(held)


def _drawn(name: str, total: int, train_size: int, seed: int) -> NDArray[np.intp]:
    if not 1 <= train_size <= total:
        raise DataError(f"'{name}' has {total} training examples: choose from 1 to {total} of them, not {train_size}")
    return drawn(total, train_size, seed)


class DatasetSource:
    """A data set of tensorflow-datasets that somebody has prepared: its name, and its directory.

    The key that its decoded arrays are kept under is that directory.
    """

    def __init__(self, name: str, key: str) -> None:
        self.name, self.key = name, key

    def use(self, action: Callable[[Path], T]) -> T:
        """Returns what ``action`` makes of the directory that the data is prepared in."""
        return action(Path(self.key))

    def load(self, train_size: int | None = None, seed: int = 0) -> Dataset:
        """Loads the data set into memory; see `load_dataset`."""
        dataset = cached(self.name, self.key, lambda: self.use(_read))
        return dataset if train_size is None else subset(dataset, train_size, seed)

    def stream(self, train_size: int | None = None, seed: int = 0) -> StreamedDataset:
        """Loads all but the training examples, which stay on the disk, decoded; they are those that `load` takes."""
        dataset = mapped(self.name, self.key, lambda keep: self.use(lambda directory: _decode(directory, keep)))
        if train_size is None:
            return dataset
        kept = _drawn(dataset.name, len(dataset.train), train_size, seed)
        return dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, kept=kept))

    def train_bytes(self) -> int:
        """Returns the size of all decoded training images, without decoding them."""
        known = cached_train_bytes(self.name, self.key)
        if known is not None:
            return known
        from lrtrain.data.reader import train_bytes

        return self.use(train_bytes)


class InMemory(DatasetSource):
    """Examples that are in memory already."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(getattr(dataset, "name", ""), "")
        self.dataset = dataset

    def named(self, name: str, version: str) -> InMemory:
        """Returns the same, called so where it has no name of its own."""
        own = self.dataset
        return InMemory(dataclasses.replace(own, name=own.name or name, version=own.version or version))

    def load(self, train_size: int | None = None, seed: int = 0) -> Dataset:
        """Returns the examples, with their digests; see `load_dataset`."""
        whole = self.dataset
        digests = whole.digests or {"train": whole.train.digest(), "test": whole.test.digest()}
        dataset = dataclasses.replace(whole, digests=digests)
        return dataset if train_size is None else subset(dataset, train_size, seed)

    def stream(self, train_size: int | None = None, seed: int = 0) -> StreamedDataset:  # noqa: ARG002  # as `load`
        """Raises DataError: what is in memory is not streamed."""
        raise DataError(
            f"the data of '{self.name}' is in memory, so it cannot be streamed: --data-on-device always loads it"
        )

    def train_bytes(self) -> int:
        """Returns the size of the training examples."""
        train = self.dataset.train
        return sum(int(leaf.nbytes) for leaf in leaves_of((train.inputs, train.targets)))


def _read(directory: Path) -> tuple[dict[str, object], Dataset]:
    from lrtrain.data.reader import read

    # Taken before reading: a file that is replaced meanwhile must not pass for the one that was read.
    source = disk.fingerprint(directory)
    return source, read(directory)


def _decode(directory: Path, keep: Keep) -> None:
    from lrtrain.data.reader import decoding

    try:
        source = disk.fingerprint(directory)
    except OSError as error:
        raise DataError(f"{directory} cannot be read: {error.strerror or error}") from error
    keep(source, decoding(directory))
