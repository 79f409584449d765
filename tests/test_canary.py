"""Watches for a jaxlib that computes wrong numbers on CPU, as 0.10.2 does (jax-ml/jax#39103)."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def test_sum_of_a_batch_of_matrix_vector_products_is_exact() -> None:
    matrices, vectors = jnp.ones((1024, 1024, 32)), jnp.ones((1024, 32))
    products = jax.jit(lambda a, x: jnp.sum(jax.vmap(jnp.matmul)(a, x)))
    assert products(matrices, vectors) == 1024 * 1024 * 32
