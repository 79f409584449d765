"""``max(x, 0)`` and the product of a dense layer in forms that XLA:CPU compiles to fast loops, gradients included.

Values and gradients are those of ``flax.linen``; benchmarks/NOTES.md has the gain of each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_PLAIN = (((1,), (0,)), ((), ()))
# Up to this number, a sum of outer products, fused with the addition that follows, is faster than a matrix product.
_FEW_EXAMPLES = 32


@jax.custom_vjp
def relu_before_conv(x: jax.Array) -> jax.Array:
    """Returns ``max(x, 0)`` of images ``[N, H, W, C]``."""
    return jnp.maximum(x, 0)


@jax.custom_vjp
def relu_before_dense(x: jax.Array) -> jax.Array:
    """Returns ``max(x, 0)`` of images ``[N, H, W, C]`` whose pixels and channels become the rows of a dense layer."""
    # Without a barrier XLA:CPU computes this and the bias again for each use. With a barrier after the reshape it finds
    # the pixel and channel of every element of a row by division, and makes no vectors.
    kept: jax.Array = lax.optimization_barrier(jnp.maximum(x, 0))
    return kept


def _forward_before_dense(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    out = relu_before_dense(x)
    return out, out


def _masked(x: jax.Array, g: jax.Array) -> jax.Array:
    return jnp.where(x > 0, g, 0)


def _masked_by_pixels(x: jax.Array, g: jax.Array) -> jax.Array:
    """Computes the mask as ``[H, W, N, C]``, the order that `lrtrain.nn.conv` and `lrtrain.nn.winograd` need next."""
    by_pixels = (1, 2, 0, 3)
    masked: jax.Array = lax.optimization_barrier(_masked(x.transpose(by_pixels), g.transpose(by_pixels)))
    return masked.transpose(2, 0, 1, 3)


def _masked_by_rows(out: jax.Array, g: jax.Array) -> jax.Array:
    """Computes the mask as ``[N, H * W * C]``, the order that ``out`` and ``g`` have already: one long loop."""
    rows = (out.shape[0], -1)
    masked: jax.Array = lax.optimization_barrier(_masked(out.reshape(rows), g.reshape(rows)))
    return masked.reshape(out.shape)


def _relu_backward(on_cpu: Callable[[jax.Array, jax.Array], jax.Array]) -> Callable[..., tuple[jax.Array]]:
    return lambda saved, g: (lax.platform_dependent(saved, g, cpu=on_cpu, default=_masked),)


# The input is saved, not the result: XLA:CPU computes that again, which is cheaper than writing and reading it.
relu_before_conv.defvjp(lambda x: (jnp.maximum(x, 0), x), _relu_backward(_masked_by_pixels))
relu_before_dense.defvjp(_forward_before_dense, _relu_backward(_masked_by_rows))


def dot_general(lhs: jax.Array, rhs: jax.Array, dimension_numbers: Any, **others: Any) -> jax.Array:
    """Multiplies like ``jax.lax.dot_general``; made for ``flax.linen.Dense(dot_general=...)``.

    The gradient is fast for ``lhs[examples, in_features]`` and ``rhs[in_features, features]``; other shapes are passed
    to ``jax.lax``.
    """
    plain = lhs.ndim == rhs.ndim == 2 and dimension_numbers == _PLAIN
    if plain and lhs.shape[0] <= _FEW_EXAMPLES and lhs.dtype == rhs.dtype and not any(others.values()):
        return _multiply(lhs, rhs)
    return lax.dot_general(lhs, rhs, dimension_numbers, **others)


@jax.custom_vjp
def _multiply(x: jax.Array, w: jax.Array) -> jax.Array:
    return x @ w


def _backward(saved: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Maps the cotangent ``g[examples, features]`` to those of ``x[examples, in]`` and ``w[in, features]``."""
    x, w = saved
    return g @ w.T, lax.platform_dependent(x, g, cpu=_sum_of_outer_products, default=lambda x, g: x.T @ g)


_multiply.defvjp(lambda x, w: (x @ w, (x, w)), _backward)


def _sum_of_outer_products(x: jax.Array, g: jax.Array) -> jax.Array:
    return sum((x[n][:, None] * g[n] for n in range(x.shape[0])), start=jnp.zeros((), x.dtype))
