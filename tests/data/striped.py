"""Images for tests, noise with a bright stripe in one of three places: as arrays, a file of arrays and a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("left", "middle", "right")
Arrays = dict[str, np.ndarray]


def arrays(train: int = 90, test: int = 30, side: int = 6, seed: int = 0) -> Arrays:
    """Returns ``uint8[N, side, side]`` and labels ``int64[N]`` as Keras names them, every class in both splits."""
    rng, made = np.random.default_rng(seed), {}
    for part, count in (("train", train), ("test", test)):
        labels = np.arange(count) % 3
        images = rng.integers(0, 120, (count, side, side))
        for image, label in zip(images, labels, strict=True):
            image[:, label * side // 3 : (label + 1) * side // 3] += 80
        made |= {f"x_{part}": images.astype(np.uint8), f"y_{part}": labels}
    return made


def npz(path: Path, **changes: Any) -> Path:
    """Writes the arrays, with others in place of some; an array that is None is left out."""
    kept = {name: array for name, array in {**arrays(), **changes}.items() if array is not None}
    np.savez(path, **kept)
    return path


def folder(path: Path, made: Arrays | None = None, splits: tuple[str, ...] = ("train", "test")) -> Path:
    """Writes the arrays as PNG, in a folder for each split and class; further splits hold the test images."""
    made = made or arrays()
    for split in splits:
        part = split if split in ("train", "test") else "test"
        for index, (image, label) in enumerate(zip(made[f"x_{part}"], made[f"y_{part}"], strict=True)):
            file = path / split / CLASSES[label] / f"{index:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
    return path
