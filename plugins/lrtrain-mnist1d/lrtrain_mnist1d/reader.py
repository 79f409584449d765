"""Reads the file with the curves, and takes nothing for the data that is not the data."""

from __future__ import annotations

import hashlib
import io
from importlib import resources

import numpy as np

from lrtrain import DataError, Dataset, Split

FILE = resources.files("lrtrain_mnist1d") / "files" / "mnist1d.npz"
SHA256 = "936a83169fae4c385786f2154758226071918c0920a9fe3c89e325dd796bd408"
CURE = "reinstall it with `pip install --force-reinstall --no-deps lrtrain-mnist1d`"
TRAIN_SIZE = 4000
# The file holds whole numbers: the value of a point is one of them divided by this.
SCALE = 1024


def read_curves() -> Dataset:
    """Returns the curves in the order of the file: the first 4,000 to train with, the last 1,000 to test with.

    Raises:
      DataError: the file is missing or is not the one that was packed.
    """
    with np.load(io.BytesIO(_packed())) as arrays:
        curves, labels = arrays["x"].astype(np.float32) / SCALE, arrays["y"].astype(np.int32)
    train, test = Split(curves[:TRAIN_SIZE], labels[:TRAIN_SIZE]), Split(curves[TRAIN_SIZE:], labels[TRAIN_SIZE:])
    return Dataset("mnist1d", "1.0.0", train, test, num_classes=10, class_names=tuple("0123456789"))


def _packed() -> bytes:
    try:
        packed = FILE.read_bytes()
    except OSError as error:
        raise DataError(f"the data file {FILE} cannot be read ({error.strerror}): {CURE}") from error
    if (digest := hashlib.sha256(packed).hexdigest()) != SHA256:
        raise DataError(f"the data file {FILE} is altered (sha256 {digest}, not {SHA256}): {CURE}")
    return packed
