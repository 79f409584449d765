"""The pixels of images, as Pillow opens them: ``uint8[H, W, 1]`` where all are grey, else ``uint8[H, W, 3]``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lrtrain.errors import DataError

_GREY = ("1", "L", "LA")
_COLOURS = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
Opened: TypeAlias = tuple[str, Callable[[], Any]]
"""An image: what messages call it, and what opens it with Pillow."""


def channels_of(images: Iterable[Opened]) -> tuple[tuple[int, int], int]:
    """Returns the size of all images, ``(width, height)``, and how many channels their pixels have.

    Raises:
      DataError: one has another size than the first, or more than 8 bits for a channel.
    """
    first, size, colours = "", (0, 0), False
    for name, opened in images:
        with opened() as image:
            if image.mode not in _GREY + _COLOURS:
                raise DataError(f"{name} has pixels of Pillow's mode {image.mode}: save it with 8 bits for a channel")
            first, size = (first, size) if first else (name, image.size)
            if image.size != size:
                raise DataError(
                    f"{name} has {_said(image.size)} and {first} has {_said(size)}: resize all to one size, as with "
                    f"Pillow's image.resize({size})"
                )
            colours = colours or image.mode not in _GREY
    return size, 3 if colours else 1


def pixels_of(images: Sequence[Opened], size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """Returns the pixels ``uint8[N, H, W, C]`` of images of one size; transparency is left out."""
    pixels = np.empty((len(images), size[1], size[0], channels), np.uint8)
    for index, (_, opened) in enumerate(images):
        with opened() as image:
            # A palette with transparency is converted by way of RGBA; Pillow warns otherwise.
            plain = image.convert("RGBA") if image.mode == "P" else image
            pixels[index] = np.asarray(plain.convert("RGB" if channels == 3 else "L")).reshape(pixels.shape[1:])
    return pixels


def _said(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"
