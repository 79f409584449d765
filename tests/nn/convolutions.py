"""Convolutions to test with, and what they should give, computed in float64 as the definition has them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def random(seed: int, shape: tuple[int, ...]) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


class Example(NamedTuple):
    x: jax.Array
    w: jax.Array
    g: jax.Array
    pads: tuple[tuple[int, int], ...]


def example(images: Any, kernel: Any, padding: Any, strides: tuple[int, int] = (1, 1)) -> Example:
    pads = lax.padtype_to_pads(images[1:3], kernel[:2], strides, padding) if isinstance(padding, str) else padding
    out = [(n + sum(pad) - k) // s + 1 for n, pad, k, s in zip(images[1:3], pads, kernel, strides, strict=False)]
    return Example(
        random(0, images), random(1, kernel), random(2, (images[0], *out, kernel[3])), tuple(map(tuple, pads))
    )


def by_numpy(x: Any, w: Any, g: Any, pads: Any, strides: tuple[int, int] = (1, 1)) -> Any:
    """Result and both gradients in float64, as the definition has them: autodiff's own may be wrong on CPU.

    Where the padding is wider than the kernel reaches, they read memory that nobody has written (openxla/xla#48713).
    """
    x, w, g = (np.asarray(values, np.float64) for values in (x, w, g))
    padded = np.pad(x, ((0, 0), *pads, (0, 0)))
    out, for_padded, for_kernel = np.zeros(g.shape), np.zeros(padded.shape), np.zeros(w.shape)
    for i, j in np.ndindex(w.shape[:2]):
        starts = zip((i, j), g.shape[1:3], strides, strict=True)
        at = (slice(None), *(slice(begin, begin + (size - 1) * step + 1, step) for begin, size, step in starts))
        out += padded[at] @ w[i, j]
        for_padded[at] += g @ w[i, j].T
        for_kernel[i, j] = np.einsum("nhwc,nhwo->co", padded[at], g)
    inside = tuple(slice(low, low + n) for n, (low, _) in zip(x.shape[1:3], pads, strict=True))
    return out, for_padded[:, *inside], for_kernel
