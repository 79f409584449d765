from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lrtrain.nn.dense import dot_general

PLAIN = (((1,), (0,)), ((), ()))


def random(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def gradients(multiply: Any, x: jax.Array, w: jax.Array, g: jax.Array) -> Any:
    out, pull = jax.vjp(lambda x, w: multiply(x, w, PLAIN), x, w)
    return out, *pull(g)


@pytest.mark.parametrize("examples", [1, 16, 40])
def test_result_and_gradients_are_those_of_lax(examples: int) -> None:
    operands = random(0, examples, 30), random(1, 30, 7), random(2, examples, 7)
    results = gradients(dot_general, *operands), gradients(lax.dot_general, *operands)
    for mine, reference in zip(*results, strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-5, atol=1e-5)


def test_other_products_are_passed_on() -> None:
    x, w = random(0, 4, 5, 6), random(1, 6, 7)
    numbers = (((2,), (0,)), ((), ()))
    np.testing.assert_array_equal(dot_general(x, w, numbers), lax.dot_general(x, w, numbers))
    x, w = random(0, 5, 4), random(1, 5, 7)
    numbers = (((0,), (0,)), ((), ()))
    np.testing.assert_array_equal(dot_general(x, w, numbers), lax.dot_general(x, w, numbers))


def test_drop_in_for_flax() -> None:
    x = random(0, 4, 6)
    variables = nn.Dense(3).init(jax.random.key(0), x)
    ours = nn.Dense(3, dot_general=dot_general).apply(variables, x)
    np.testing.assert_allclose(ours, nn.Dense(3).apply(variables, x), rtol=1e-6)
