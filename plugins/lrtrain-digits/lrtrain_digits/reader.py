"""Reads the file with the digits, and takes nothing for the data that is not the data."""

from __future__ import annotations

import gzip
from importlib import resources

import numpy as np

from lrtrain import Dataset, Split, read_packed

FILE = resources.files("lrtrain_digits") / "files" / "digits.csv.gz"
SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
TRAIN_SIZE = 1437


def read_digits() -> Dataset:
    """Returns the digits in the order of the file: the first 1,437 to train with, the last 360 to test with.

    Raises:
      DataError: the file is missing or is not the one that was packed.
    """
    lines = gzip.decompress(read_packed(FILE, SHA256, "lrtrain-digits")).decode().splitlines()
    table = np.loadtxt(lines, np.uint8, delimiter=",")
    images, labels = table[:, :64].reshape(-1, 8, 8, 1), table[:, 64].astype(np.int32)
    train, test = Split(images[:TRAIN_SIZE], labels[:TRAIN_SIZE]), Split(images[TRAIN_SIZE:], labels[TRAIN_SIZE:])
    return Dataset("digits", "1.0.0", train, test, num_classes=10, class_names=tuple("0123456789"))
