"""``max(x, 0)`` where XLA:CPU makes fast loops of it: before a convolution, and before a dense layer.

Values and gradients are those of ``flax.linen.relu``; benchmarks/NOTES.md has what each of the two gains.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax


@jax.custom_vjp
def relu_before_conv(x: jax.Array) -> jax.Array:
    """Returns ``max(x, 0)`` of images ``[N, H, W, C]``."""
    return jnp.maximum(x, 0)


def _forward_before_conv(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    # Not the result: XLA:CPU computes it again from the few images, which is cheaper than to write and read it.
    return jnp.maximum(x, 0), x


def _backward_before_conv(x: jax.Array, g: jax.Array) -> tuple[jax.Array]:
    return (lax.platform_dependent(x, g, cpu=_masked_by_places, default=_masked),)


relu_before_conv.defvjp(_forward_before_conv, _backward_before_conv)


@jax.custom_vjp
def relu_before_dense(x: jax.Array) -> jax.Array:
    """Returns ``max(x, 0)`` of images ``[N, H, W, C]`` whose places and channels become the rows of a dense layer."""
    # Without a barrier XLA:CPU computes this, bias and all, once for each use; with one after the reshape it finds
    # the place and channel of every element of a row by division, and makes no vectors.
    kept: jax.Array = lax.optimization_barrier(jnp.maximum(x, 0))
    return kept


def _forward_before_dense(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    out = relu_before_dense(x)
    return out, out


def _backward_before_dense(out: jax.Array, g: jax.Array) -> tuple[jax.Array]:
    return (lax.platform_dependent(out, g, cpu=_masked_by_rows, default=_masked),)


relu_before_dense.defvjp(_forward_before_dense, _backward_before_dense)


def _masked(x: jax.Array, g: jax.Array) -> jax.Array:
    return jnp.where(x > 0, g, 0)


def _masked_by_places(x: jax.Array, g: jax.Array) -> jax.Array:
    """Computes it as ``[H, W, N, C]``, the order in which `lrtrain.nn.conv` and `lrtrain.nn.winograd` go on with it."""
    by_places = (1, 2, 0, 3)
    masked: jax.Array = lax.optimization_barrier(_masked(x.transpose(by_places), g.transpose(by_places)))
    return masked.transpose(2, 0, 1, 3)


def _masked_by_rows(out: jax.Array, g: jax.Array) -> jax.Array:
    """Computes it as ``[N, H * W * C]``, in which ``out`` and ``g`` lie already: one long loop."""
    rows = (out.shape[0], -1)
    masked: jax.Array = lax.optimization_barrier(_masked(out.reshape(rows), g.reshape(rows)))
    return masked.reshape(out.shape)
