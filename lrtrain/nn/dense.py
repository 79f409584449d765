"""The matrix product of a dense layer, with a kernel gradient that is fast on CPU for few examples."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_PLAIN = (((1,), (0,)), ((), ()))
# Up to this number, a sum of outer products, fused with the addition that follows, is faster than a matrix product.
_FEW_EXAMPLES = 32


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
