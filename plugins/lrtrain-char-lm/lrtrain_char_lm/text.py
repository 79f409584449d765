"""The text of the package, as characters and as tokens."""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrtrain import DataError

FILE = Path(__file__).with_name("files") / "text.xz"
SHA256 = "79b4c76a4da6be80b95ae3e2195c6b7c7b59eee9a9034ebfb75b586e3b9991e3"
# Of the text, by position: the rest is for the test.
TRAIN, VALIDATION = 90, 5


def read_text(file: Path = FILE) -> str:
    """Returns the text: 1,510,269 ASCII characters, one verse a line; raises DataError if the file is damaged."""
    try:
        contents = lzma.decompress(file.read_bytes())
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{file} cannot be read ({error}): install lrtrain-char-lm again") from error
    if hashlib.sha256(contents).hexdigest() != SHA256:
        raise DataError(f"{file} is not the text of this package: install lrtrain-char-lm again")
    return contents.decode("ascii")


def tokens_of(text: str) -> NDArray[np.int32]:
    """Returns the number of each character among the characters of the text, sorted: ``int32[len(text)]``."""
    codes = np.frombuffer(text.encode("ascii"), np.uint8)
    return np.unique(codes, return_inverse=True)[1].astype(np.int32)


def split_by_position(tokens: NDArray[np.int32]) -> tuple[NDArray[np.int32], ...]:
    """Returns the first 90% for training, the next 5% for validation and the last 5% for the test."""
    return tuple(np.split(tokens, [len(tokens) * TRAIN // 100, len(tokens) * (TRAIN + VALIDATION) // 100]))


def sequences(tokens: NDArray[np.int32], length: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Cuts tokens into sequences that do not overlap, and leaves out what is over at the end.

    Returns:
      The tokens of each sequence and those that follow them, both ``int32[sequences, length]``.
    """
    count = (len(tokens) - 1) // length
    inputs, targets = tokens[: count * length], tokens[1 : count * length + 1]
    return inputs.reshape(count, length), targets.reshape(count, length)
