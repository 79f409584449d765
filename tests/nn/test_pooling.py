"""Maxima over windows, and their gradients, are JAX's own."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lrtrain.nn.pooling import max_over_windows

CASES: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], Any]] = [
    ((3, 8, 6, 5), (2, 2), (2, 2), "VALID"),
    ((3, 9, 7, 5), (2, 2), (2, 2), "VALID"),
    ((3, 9, 7, 5), (2, 2), (2, 2), "SAME"),
    ((3, 9, 9, 4), (3, 3), (3, 3), "VALID"),
    ((3, 9, 8, 4), (3, 3), (2, 2), "SAME"),
    ((3, 9, 8, 4), (3, 2), (1, 1), [(1, 1), (0, 2)]),
    ((3, 9, 8, 4), (2, 2), (3, 4), "VALID"),
    ((2, 24, 24, 1), (12, 12), (12, 12), "VALID"),
    ((2, 11, 3), (2,), (2,), "SAME"),
]


def by_jax(x: jax.Array, window: Any, strides: Any, padding: Any) -> jax.Array:
    lowest = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    found: jax.Array = lax.reduce_window(x, jnp.asarray(lowest, x.dtype), lax.max, window, strides, padding)
    return found


def arguments(shape: Any, window: Any, strides: Any, padding: Any) -> tuple[Any, Any, Any]:
    window, strides = (1, *window, 1), (1, *strides, 1)
    pads = padding if isinstance(padding, str) else [(0, 0), *padding, (0, 0)]
    return window, strides, tuple(lax.padtype_to_pads(shape, window, strides, pads) if isinstance(pads, str) else pads)


@pytest.mark.parametrize("kind", ["all different", "many equal"])
@pytest.mark.parametrize(("shape", "window", "strides", "padding"), CASES)
def test_like_jax(shape: Any, window: Any, strides: Any, padding: Any, kind: str) -> None:
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal(shape) if kind == "all different" else rng.integers(0, 3, shape)
    x = jnp.asarray(drawn, jnp.float32)
    given = arguments(shape, window, strides, padding)
    ours, pull = jax.vjp(lambda x: max_over_windows(x, *given), x)
    expected, pull_by_jax = jax.vjp(lambda x: by_jax(x, *given), x)
    np.testing.assert_array_equal(ours, expected)
    g = jnp.asarray(rng.standard_normal(ours.shape), jnp.float32)
    # Where windows overlap, the contributions are added up in another order.
    np.testing.assert_allclose(pull(g)[0], pull_by_jax(g)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.int32])
def test_other_types(dtype: Any) -> None:
    x = jnp.asarray(np.random.default_rng(0).integers(-9, 9, (2, 8, 8, 3)), dtype)
    given = arguments(x.shape, (2, 2), (2, 2), "SAME")
    ours = max_over_windows(x, *given)
    assert ours.dtype == x.dtype
    np.testing.assert_array_equal(ours, by_jax(x, *given))


def test_nan_is_not_lost() -> None:
    x = jnp.zeros((1, 4, 4, 1)).at[0, 1, 1, 0].set(jnp.nan)
    np.testing.assert_array_equal(
        max_over_windows(x, *arguments(x.shape, (2, 2), (2, 2), "VALID")), nn.max_pool(x, (2, 2), (2, 2))
    )
