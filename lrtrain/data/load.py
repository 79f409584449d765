"""Data sets: a name in, arrays out, all of it through tensorflow-datasets without TensorFlow and without a network.

A data set that an installed package provides is prepared when it is first used; docs/how-to/own-data.md has what such a
package promises. Any other of tensorflow-datasets has been prepared as ArrayRecord, and is named ``name``,
``name/config`` or ``name:1.0.0``. It has one image feature (``Image`` or ``Tensor``, ``uint8[H, W, C]``), one
``ClassLabel``, a split ``train``, and a split ``test`` or ``validation``.

Decoded arrays are kept in the cache directory (see ``lrtrain.data.arrays``), so the second start is quick.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from lrtrain.cache import cache_dir
from lrtrain.data import disk, provider
from lrtrain.data.arrays import cached, cached_digests, cached_train_bytes, keep_digests
from lrtrain.data.disk import Reference
from lrtrain.data.types import Dataset, Split, drawn, leaves_of
from lrtrain.errors import DataError, UsageError, nearest
from lrtrain.extras import absent
from lrtrain.files import has_utf8_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lrtrain.data.stream import StreamedDataset

T = TypeVar("T")
_PACKAGES = {"fashion_mnist": "lrtrain-fashion-mnist"}


def load_dataset(
    name: str = "fashion_mnist", *, data_dir: Path | None = None, train_size: int | None = None, seed: int = 0
) -> Dataset:
    """Loads a data set into memory; nothing is ever downloaded.

    Args:
      name: ``name``, ``name/config`` or ``name:1.0.0``. A plain name that an installed package provides means that one.
      data_dir: the directory in which data sets of tensorflow-datasets are prepared. By default it is
        ``datasets`` in lrtrain's cache directory for those that packages provide, and ``$TFDS_DATA_DIR`` or
        ``~/tensorflow_datasets`` for all others.
      train_size: take this many training examples, see `subset`.
      seed: decides which examples `train_size` takes, and nothing else.

    Returns:
      The data set, its examples in the order of the prepared files.

    Raises:
      DataError: the name is unknown, the data is not prepared, damaged, or not for image classification, or
        ``train_size`` is not from 1 to the number of training examples.
    """
    if train_size is not None and train_size < 1:
        raise DataError(f"the number of training examples must be at least 1, not {train_size}")
    return find_dataset(name, data_dir=data_dir).load(train_size, seed)


def find_dataset(name: str, *, data_dir: Path | None = None) -> DatasetSource:
    """Finds a data set, to be loaded or streamed; raises DataError when it is unknown or not prepared."""
    reference = Reference.parse(name)
    root = data_dir.expanduser().absolute() if data_dir else None
    if root is not None and not has_utf8_name(root):
        raise DataError(f"the data directory {root} is refused: its path is not UTF-8, so rename it")
    entry = provider.find_provider(reference.name) if str(reference) == reference.name else None
    if entry:
        return _Provided(entry, root)
    root = root or disk.tfds_dir()
    directory = disk.find(reference, root)
    if directory is None:
        raise _not_there(reference, root)
    return DatasetSource(str(reference), str(directory))


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
        """Loads all but the training examples; those that it has are the ones that `load` takes."""
        dataset = self.use(self._stream)
        if train_size is None:
            return dataset
        kept = _drawn(dataset.name, len(dataset.train), train_size, seed)
        return dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, kept=kept))

    def _stream(self, directory: Path) -> StreamedDataset:
        from lrtrain.data.reader import stream

        known, fingerprint = cached_digests(self.name, self.key), disk.fingerprint(directory)
        dataset = stream(directory, known)
        if known is None:
            keep_digests(self.name, self.key, fingerprint, dataset.digests)
        return dataset

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
        raise DataError(f"the data of '{self.name}' is in memory, so it cannot be streamed: leave data_on_device out")

    def train_bytes(self) -> int:
        """Returns the size of the training examples."""
        train = self.dataset.train
        return sum(int(leaf.nbytes) for leaf in leaves_of((train.inputs, train.targets)))


class _Provided(DatasetSource):
    """A data set that an installed package provides."""

    def __init__(self, entry: EntryPoint, data_dir: Path | None) -> None:
        self._entry, self._own = entry, data_dir is None
        self._root = data_dir or cache_dir() / "datasets"
        super().__init__(entry.name, f"{entry.name} of {provider.owner(entry)} in {self._root}")

    def use(self, action: Callable[[Path], T]) -> T:
        """Prepares the data; damaged data in our own cache is made again, in a directory of the user's an error."""
        from lrtrain.data.prepare import DamagedError, prepare

        builder_class = provider.builder_class(self._entry)
        try:
            return action(prepare(builder_class, self._root))
        except DamagedError as error:
            if not self._own:
                raise
            shutil.rmtree(error.directory)
        return action(prepare(builder_class, self._root))


def _read(directory: Path) -> tuple[dict[str, object], Dataset]:
    from lrtrain.data.reader import read

    # Taken before reading: a file that is replaced meanwhile must not pass for the one that was read.
    source = disk.fingerprint(directory)
    return source, read(directory)


def _not_there(reference: Reference, root: Path) -> DataError:
    if reference.name in _PACKAGES and str(reference) == reference.name:
        return DataError(f"'{reference}' is not installed: run `pip install {_PACKAGES[reference.name]}`")
    missing = absent("tfds", "any of tensorflow-datasets")
    if missing is None and _is_known(reference.name):
        sentence = (
            f"the data set '{reference}' is not prepared in {root}: where TensorFlow and a network are, run "
            f"`tfds build {reference} --file_format=array_record --data_dir={root}`"
        )
        if provider.find_provider(reference.name):
            sentence += f", or name it '{reference.name}' to take the one that an installed package provides"
        return DataError(sentence)
    prepared, provided = disk.prepared_names(root), provider.provided_names()
    return DataError(
        f"there is no data set '{reference}'{nearest(reference.name, sorted({*prepared, *provided}))}: installed "
        f"packages provide {', '.join(provided) or 'none'}, and {root} holds {', '.join(prepared) or 'none'}"
        f"{f'; {missing}' if missing else ''}"
    )


def _is_known(name: str) -> bool:
    """Returns whether tensorflow-datasets itself has a data set of that name."""
    from lrtrain.data.prepare import quiet, tfds

    with quiet():
        return name in tfds().list_builders(with_community_datasets=False)
