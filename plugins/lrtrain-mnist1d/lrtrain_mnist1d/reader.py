"""Reads the file with the curves, and takes nothing for the data that is not the data."""

from __future__ import annotations

import io
from importlib import resources

import numpy as np

from lrtrain import Dataset, Split, read_packed

FILE = resources.files("lrtrain_mnist1d") / "files" / "mnist1d.npz"
SHA256 = "936a83169fae4c385786f2154758226071918c0920a9fe3c89e325dd796bd408"
TRAIN_SIZE = 4000
# The file holds whole numbers: the value of a point is one of them divided by this.
SCALE = 1024


def read_curves() -> Dataset:
    """Returns the curves in the order of the file: the first 4,000 to train with, the last 1,000 to test with.

    Raises:
      DataError: the file is missing or is not the one that was packed.
    """
    with np.load(io.BytesIO(read_packed(FILE, SHA256, "lrtrain-mnist1d"))) as arrays:
        curves, labels = arrays["x"].astype(np.float32) / SCALE, arrays["y"].astype(np.int32)
    train, test = Split(curves[:TRAIN_SIZE], labels[:TRAIN_SIZE]), Split(curves[TRAIN_SIZE:], labels[TRAIN_SIZE:])
    return Dataset("mnist1d", "1.0.0", train, test, num_classes=10, class_names=tuple("0123456789"))
