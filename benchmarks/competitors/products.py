"""The default network, its second convolution as matrix products, which a vmap makes batched ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrtrain.nn.conv import conv_general_dilated


def shifted(lhs: jax.Array, rhs: jax.Array, strides: Any, padding: Any, **others: Any) -> jax.Array:
    """Convolves ``lhs[N, H, W, C]`` with ``rhs[3, 3, C, O]``: one product for each of nine places."""
    terms = (view @ rhs[place] for place, view in _views(lhs, rhs.shape[:2]))
    return sum(terms, start=jnp.zeros((), lhs.dtype))


def patches(lhs: jax.Array, rhs: jax.Array, strides: Any, padding: Any, **others: Any) -> jax.Array:
    """Convolves the same: one product of all nine shifted images, written out side by side."""
    side_by_side = jnp.concatenate([view for _, view in _views(lhs, rhs.shape[:2])], axis=-1)
    return side_by_side @ rhs.reshape(-1, rhs.shape[-1])


def _views(images: jax.Array, kernel: Sequence[int]) -> list[tuple[tuple[int, int], jax.Array]]:
    """Returns the part of the padded images that each place of a kernel covers."""
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), *(((size - 1) // 2, size // 2) for size in kernel), (0, 0)))
    places = [(row, column) for row in range(kernel[0]) for column in range(kernel[1])]
    return [(place, padded[:, place[0] : place[0] + height, place[1] : place[1] + width]) for place in places]


class CNN(nn.Module):
    """`lrtrain.nn.model.CNN` with another second convolution."""

    conv: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Conv(32, (3, 3), conv_general_dilated=conv_general_dilated, name="CONV1")(x))
        x = nn.relu(nn.Conv(16, (3, 3), conv_general_dilated=self.conv, name="CONV2")(x))
        return nn.Dense(10, name="DENSE")(x.reshape(x.shape[0], -1))
