"""Data sets: a name in, arrays out, all of it through tensorflow-datasets without TensorFlow and without a network.

Two kinds of names work:

* **Data sets that an installed package brings**, through the entry-point group ``lrtrain.datasets``. They are prepared
  when they are first used. The contract: the entry point's name is the data set's name, its object is a builder
  class of tensorflow-datasets (usually a ``GeneratorBasedBuilder``, defined with ``skip_registration=True``) that
  prepares its data without TensorFlow and without a network. The class is imported only when its data is to be
  prepared. It has no configs; its ``name`` and ``VERSION`` are the directory. It reports a file that is missing or
  damaged by raising ``lrtrain.errors.DataError``. After a new release of the package it is asked again::

      [project.entry-points."lrtrain.datasets"]
      fashion_mnist = "lrtrain_fashion_mnist.builder:FashionMnist"

* **Any other image-classification data set of tensorflow-datasets** that has been prepared as ArrayRecord, as ``name``,
  ``name/config`` or ``name:1.0.0``. It has one image feature (``Image`` or ``Tensor``, ``uint8[H, W, C]``), one
  ``ClassLabel``, a split ``train``, and a split ``test`` or ``validation``.

Decoded arrays are kept in the cache directory (see ``lrtrain.data.cache``), so the second start is quick.
"""

from __future__ import annotations

import dataclasses
import shutil
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np

from lrtrain.cache import cache_dir
from lrtrain.data import disk, provider
from lrtrain.data.cache import cached
from lrtrain.data.disk import Reference
from lrtrain.data.types import Dataset, Split
from lrtrain.errors import DataError, nearest

__all__ = ["Dataset", "Split", "load_dataset", "subset"]

_PACKAGES = {"fashion_mnist": "lrtrain-fashion-mnist"}


def load_dataset(
    name: str = "fashion_mnist", *, data_dir: Path | None = None, train_size: int | None = None, seed: int = 0
) -> Dataset:
    """Loads a data set into memory; nothing is ever downloaded.

    Args:
        name: ``name``, ``name/config`` or ``name:1.0.0``. A plain name that an installed package brings means that one.
        data_dir: the directory in which data sets of tensorflow-datasets are prepared. By default it is
            ``datasets`` in lrtrain's cache directory for those that packages bring, and ``$TFDS_DATA_DIR`` or
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
    reference = Reference.parse(name)
    root = data_dir.expanduser().absolute() if data_dir else None
    entry = provider.find_provider(reference.name) if str(reference) == reference.name else None
    dataset = _load_provided(entry, root) if entry else _load_prepared(reference, root or disk.tfds_dir())
    return dataset if train_size is None else subset(dataset, train_size, seed)


def subset(dataset: Dataset, train_size: int, seed: int = 0) -> Dataset:
    """Keeps ``train_size`` of the training examples, and all test examples.

    They are drawn uniformly without replacement and stay in file order. Which ones is a pure function of ``seed``,
    ``train_size`` and the number of examples, on every platform and with every version of NumPy; with one seed, the
    examples of a smaller size are among those of a larger one.

    Args:
        dataset: the whole data set.
        train_size: from 1 to the number of training examples.
        seed: a non-negative integer.

    Raises:
        DataError: ``train_size`` is out of range.
    """
    total = len(dataset.train)
    if not 1 <= train_size <= total:
        raise DataError(
            f"'{dataset.name}' has {total} training examples: choose from 1 to {total} of them, not {train_size}"
        )
    # NumPy keeps the raw bits of a generator the same for ever, but not what permutation() makes of them.
    drawn = np.argsort(np.random.PCG64(seed).random_raw(total), kind="stable")[:train_size]
    kept = np.sort(drawn)
    return dataclasses.replace(dataset, train=Split(dataset.train.images[kept], dataset.train.labels[kept]))


def _load_provided(entry: EntryPoint, data_dir: Path | None) -> Dataset:
    root = data_dir or cache_dir() / "datasets"
    key = f"{entry.name} of {provider.owner(entry)} in {root}"
    return cached(entry.name, key, lambda: _prepare_and_read(entry, root, own=data_dir is None))


def _prepare_and_read(entry: EntryPoint, root: Path, *, own: bool) -> tuple[dict[str, object], Dataset]:
    """Damaged data in our ``own`` cache is made again; in a directory of the user's it is an error."""
    from lrtrain.data.prepare import DamagedError, prepare

    builder_class = provider.builder_class(entry)
    try:
        return _read(prepare(builder_class, root))
    except DamagedError as error:
        if not own:
            raise
        shutil.rmtree(error.directory)
    return _read(prepare(builder_class, root))


def _read(directory: Path) -> tuple[dict[str, object], Dataset]:
    from lrtrain.data.reader import read

    # Taken before reading: a file that is replaced meanwhile must not pass for the one that was read.
    source = disk.fingerprint(directory)
    return source, read(directory)


def _load_prepared(reference: Reference, root: Path) -> Dataset:
    directory = disk.find(reference, root)
    if directory is None:
        raise _not_there(reference, root)
    return cached(str(reference), str(directory), lambda: _read(directory))


def _not_there(reference: Reference, root: Path) -> DataError:
    from lrtrain.data.prepare import is_known

    if reference.name in _PACKAGES and str(reference) == reference.name:
        return DataError(f"'{reference}' is not installed: run `pip install {_PACKAGES[reference.name]}`")
    if is_known(reference.name):
        return DataError(_how_to_prepare(reference, root))
    prepared = disk.prepared_names(root)
    known = provider.names_to_offer(prepared)
    return DataError(
        f"there is no data set '{reference}'{nearest(reference.name, known)}: installed packages bring "
        f"{', '.join(provider.provided_names()) or 'none'}, and {root} holds {', '.join(prepared) or 'none'}"
    )


def _how_to_prepare(reference: Reference, root: Path) -> str:
    sentence = (
        f"the data set '{reference}' is not prepared in {root}: where TensorFlow and a network are, run "
        f"`tfds build {reference} --file_format=array_record --data_dir={root}`"
    )
    if provider.find_provider(reference.name):
        return f"{sentence}, or name it '{reference.name}' to take the one that an installed package brings"
    return sentence
