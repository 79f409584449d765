"""Data sets: a name or a path in, arrays out; nothing is downloaded, and TensorFlow is not needed.

A path is that of a file of arrays or of a folder, see `lrtrain.data.path`. A name is that of a data set of
tensorflow-datasets.

A data set that an installed package provides is prepared when it is first used; docs/how-to/own-data.md has what such a
package promises. Any other of tensorflow-datasets has been prepared as ArrayRecord, and is named ``name``,
``name/config`` or ``name:1.0.0``. It has one image feature (``Image`` or ``Tensor``, ``uint8[H, W, C]``), one
``ClassLabel``, a split ``train``, and a split ``test`` or ``validation``.

Decoded arrays are kept in the cache directory (see ``lrtrain.data.arrays``), so the second start is quick.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TypeVar

from lrtrain.cache import cache_dir
from lrtrain.data import disk, provider
from lrtrain.data.disk import Reference
from lrtrain.data.path import find_path
from lrtrain.data.source import DatasetSource
from lrtrain.data.types import Dataset
from lrtrain.errors import DataError, nearest
from lrtrain.extras import absent
from lrtrain.files import has_utf8_name, is_path

T = TypeVar("T")
_PACKAGES = {"fashion_mnist": "lrtrain-fashion-mnist"}


def load_dataset(
    name: str | Path = "fashion_mnist",
    *,
    data_dir: Path | None = None,
    train_size: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Loads a data set into memory; nothing is ever downloaded.

    Args:
      name: ``name``, ``name/config`` or ``name:1.0.0``. A plain name that an installed package provides means that one.
        Or a path, such as ``./flowers.npz``.
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

    Example:
      >>> data = load_dataset("fashion_mnist", train_size=1000)
      >>> data.train.inputs.shape, data.train.targets.dtype
      ((1000, 28, 28, 1), dtype('int32'))
    """
    if train_size is not None and train_size < 1:
        raise DataError(f"the number of training examples must be at least 1, not {train_size}")
    return find_dataset(name, data_dir=data_dir).load(train_size, seed)


def find_dataset(name: str | Path, *, data_dir: Path | None = None) -> DatasetSource:
    """Finds a data set, to be loaded or streamed; raises DataError when it is unknown or not prepared."""
    if isinstance(name, Path) or is_path(name):
        return find_path(Path(name))
    try:
        reference = Reference.parse(name)
    except DataError as error:
        raise DataError(f"{error}{_hint(name)}") from error
    root = data_dir.expanduser().absolute() if data_dir else None
    if root is not None and not has_utf8_name(root):
        raise DataError(f"the data directory {root} is refused: its path is not UTF-8, so rename it")
    entry = provider.find_provider(reference.name) if str(reference) == reference.name else None
    if entry:
        return _Provided(entry, root)
    root = root or disk.tfds_dir()
    directory = disk.find(reference, root)
    if directory is None:
        raise DataError(f"{_not_there(reference, root)}{_hint(name)}")
    return DatasetSource(str(reference), str(directory))


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


def _hint(name: str) -> str:
    return f"; for what is at that path here, write ./{name}" if os.path.exists(name) else ""


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
