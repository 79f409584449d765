"""Pooling over windows in forms that XLA:CPU compiles to fast loops, gradients included.

The gradient that JAX has for a maximum over windows searches each window again, element by element: it takes as long as
the convolutions beside it. Here the forward pass notes which element is the maximum. Values and gradients are JAX's own
to the bit where the windows do not overlap and have no NaN; among equal elements the first is the maximum.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Shape = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]

_MOST_IN_A_BYTE = 128


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def max_over_windows(x: jax.Array, window: Shape, strides: Shape, pads: Pads) -> jax.Array:
    """Returns the maximum of each window of ``x``; the arguments have an entry for each axis, padding is ``-inf``."""
    return _maximum(x, window, strides, pads)[0]


def _maximum(x: jax.Array, window: Shape, strides: Shape, pads: Pads) -> tuple[jax.Array, jax.Array]:
    """Returns the maxima, and which element of its window each is, int8."""
    lowest = -np.inf if jnp.issubdtype(x.dtype, jnp.inexact) else np.iinfo(x.dtype).min
    views = list(_views(_padded(x, pads, lowest), window, strides))
    largest = views[0]
    place = jnp.zeros(largest.shape, jnp.int8 if len(views) <= _MOST_IN_A_BYTE else jnp.int32)
    for number, view in enumerate(views[1:], start=1):
        place = jnp.where(view > largest, jnp.asarray(number, place.dtype), place)
        largest = jnp.maximum(largest, view)
    return largest, place


def _forward(x: jax.Array, window: Shape, strides: Shape, pads: Pads) -> tuple[jax.Array, tuple[jax.Array, Shape]]:
    largest, place = _maximum(x, window, strides, pads)
    return largest, (place, x.shape)


def _backward(
    window: Shape, strides: Shape, pads: Pads, saved: tuple[jax.Array, Shape], g: jax.Array
) -> tuple[jax.Array]:
    place, shape = saved
    if window == strides and _are_tiled(shape, window, pads):
        return (_to_tiles(place, g, window),)
    sizes = tuple(size + sum(pad) for size, pad in zip(shape, pads, strict=True))
    parts = [
        _spread(jnp.where(place == number, g, 0), offset, strides, sizes)
        for number, offset in enumerate(_offsets(window))
    ]
    total = functools.reduce(jnp.add, parts)
    return (_padded(total, tuple((-low, -high) for low, high in pads), 0),)


max_over_windows.defvjp(_forward, _backward)


def _to_tiles(place: jax.Array, g: jax.Array, window: Shape) -> jax.Array:
    """Returns the gradient where every element is in one window: one loop over it."""
    axes = tuple(range(1, 2 * g.ndim, 2))
    number = jnp.arange(math.prod(window), dtype=place.dtype).reshape([n for size in window for n in (1, size)])
    spread = jnp.where(jnp.expand_dims(place, axes) == number, jnp.expand_dims(g, axes), 0)
    return spread.reshape([n * size for n, size in zip(g.shape, window, strict=True)])


def _spread(values: jax.Array, offset: Shape, strides: Shape, sizes: Shape) -> jax.Array:
    """Puts a value for each window at its element: the opposite of a view."""
    reach = ((n - 1) * stride + 1 for n, stride in zip(values.shape, strides, strict=True))
    config = [
        (begin, size - begin - covered, stride - 1)
        for begin, size, covered, stride in zip(offset, sizes, reach, strides, strict=True)
    ]
    return lax.pad(values, jnp.zeros((), values.dtype), config)


def _views(x: jax.Array, window: Shape, strides: Shape) -> Iterator[jax.Array]:
    """Yields, for each place in a window, the elements that all windows have there."""
    counts = [(size - width) // stride + 1 for size, width, stride in zip(x.shape, window, strides, strict=True)]
    for offset in _offsets(window):
        limits = [b + (n - 1) * s + 1 for b, n, s in zip(offset, counts, strides, strict=True)]
        yield lax.slice(x, offset, limits, strides)


def _offsets(window: Shape) -> list[Shape]:
    return list(itertools.product(*map(range, window)))


def _are_tiled(shape: Shape, window: Shape, pads: Pads) -> bool:
    return all(size % width == 0 and pad == (0, 0) for size, width, pad in zip(shape, window, pads, strict=True))


def _padded(x: jax.Array, pads: Sequence[tuple[int, int]], value: float) -> jax.Array:
    return lax.pad(x, jnp.asarray(value, x.dtype), [(low, high, 0) for low, high in pads])
