"""Images shifted and mirrored at random, in a form that is fast where it is vectorised over a batch.

A slice at a place of its own for each image becomes a gather, and XLA:CPU gathers element by element. Here every
possible shift is a slice at a fixed place, and the one that was drawn is selected.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax


def moved(image: jax.Array, key: jax.Array, shift: int, flip: bool) -> jax.Array:
    """Returns the image ``[H, W, C]`` moved by up to ``shift`` pixels on both axes, mirrored half of the time."""
    for_shift, for_flip = jax.random.split(key)
    down, right = jax.random.randint(for_shift, (2,), -shift, shift + 1)
    image = _shifted(_shifted(image, down, shift, axis=0), right, shift, axis=1)
    return jnp.where(jax.random.bernoulli(for_flip), image[:, ::-1], image) if flip else image


def _shifted(image: jax.Array, by: jax.Array, most: int, axis: int) -> jax.Array:
    """Returns the image moved along an axis by some of ``most`` pixels in either direction; zeros come in."""
    widths = [(most, most) if each == axis else (0, 0) for each in range(image.ndim)]
    padded = jnp.pad(image, widths)
    size = image.shape[axis]
    views = [lax.slice_in_dim(padded, begin, begin + size, axis=axis) for begin in range(2 * most + 1)]
    return lax.select_n(by + most, *views[::-1])
