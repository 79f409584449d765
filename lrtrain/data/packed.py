"""The small data file of a package, taken only as it was packed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from lrtrain.errors import DataError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def read_packed(file: Traversable, sha256: str, package: str) -> bytes:
    """Returns the contents of a data file that a package of a workload or a data set holds.

    Args:
      file: the file, as ``importlib.resources.files("lrtrain_digits") / "files" / "digits.csv.gz"``.
      sha256: the SHA-256 of its contents.
      package: the name by which pip installs it, as ``lrtrain-digits``.

    Raises:
      DataError: the file is missing, or is not the one that was packed.

    Example:
      >>> from importlib import resources
      >>> file = resources.files("lrtrain") / "__main__.py"
      >>> read_packed(file, "1234", "lrtrain")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      lrtrain.errors.DataError: the data file ...__main__.py is altered (sha256 ..., not 1234): reinstall it with ...
    """
    cure = f"reinstall it with `pip install --force-reinstall --no-deps {package}`"
    try:
        contents = file.read_bytes()
    except OSError as error:
        raise DataError(f"the data file {file} cannot be read ({error.strerror}): {cure}") from error
    if (digest := hashlib.sha256(contents).hexdigest()) != sha256:
        raise DataError(f"the data file {file} is altered (sha256 {digest}, not {sha256}): {cure}")
    return contents
