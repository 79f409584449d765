"""Reads the file with the digits, and takes nothing for the data that is not the data."""

from __future__ import annotations

import gzip
import hashlib
from importlib import resources

import numpy as np

from lrtrain import DataError, Dataset, Split

FILE = resources.files("lrtrain_digits") / "files" / "digits.csv.gz"
SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
CURE = "reinstall it with `pip install --force-reinstall --no-deps lrtrain-digits`"
TRAIN_SIZE = 1437


def read_digits() -> Dataset:
    """Returns the digits in the order of the file: the first 1,437 to train with, the last 360 to test with.

    Raises:
      DataError: the file is missing or is not the one that was packed.
    """
    table = np.loadtxt(_lines(), np.uint8, delimiter=",")
    images, labels = table[:, :64].reshape(-1, 8, 8, 1), table[:, 64].astype(np.int32)
    train, test = Split(images[:TRAIN_SIZE], labels[:TRAIN_SIZE]), Split(images[TRAIN_SIZE:], labels[TRAIN_SIZE:])
    return Dataset("digits", "1.0.0", train, test, num_classes=10, class_names=tuple("0123456789"))


def _lines() -> list[str]:
    try:
        packed = FILE.read_bytes()
    except OSError as error:
        raise DataError(f"the data file {FILE} cannot be read ({error.strerror}): {CURE}") from error
    if (digest := hashlib.sha256(packed).hexdigest()) != SHA256:
        raise DataError(f"the data file {FILE} is altered (sha256 {digest}, not {SHA256}): {CURE}")
    return gzip.decompress(packed).decode().splitlines()
