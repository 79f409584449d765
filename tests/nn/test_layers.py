from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lrtrain.nn.layers import dot_general, relu_before_conv, relu_before_dense

BOTH = pytest.mark.parametrize("relu", [relu_before_conv, relu_before_dense])
# Where relu's gradient could go wrong, besides Gaussian numbers.
EDGES = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45]


def images(seed: int) -> jax.Array:
    values = np.random.default_rng(seed).standard_normal((3, 5, 4, 6)).astype(np.float32)
    values[seed % 3, 2, 1, :] = EDGES[:6]
    values[0, 0, 0, 0] = EDGES[6]
    return jnp.asarray(values)


def with_gradient(relu: Any, x: jax.Array, g: jax.Array) -> Any:
    out, pull = jax.vjp(relu, x)
    return out, *pull(g)


@BOTH
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit])
def test_value_and_gradient_are_those_of_flax(relu: Any, transform: Any) -> None:
    x, g = images(0), images(1)
    mine = transform(lambda x, g: with_gradient(relu, x, g))(x, g)
    flax = transform(lambda x, g: with_gradient(nn.relu, x, g))(x, g)
    for ours, theirs in zip(mine, flax, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


@BOTH
def test_runs_side_by_side(relu: Any) -> None:
    """A population on an accelerator is vmapped."""
    x, g = jnp.stack([images(0), images(2)]), jnp.stack([images(1), images(3)])
    mine = jax.vmap(lambda x, g: with_gradient(relu, x, g))(x, g)
    for run in range(2):
        for ours, theirs in zip(mine, with_gradient(nn.relu, x[run], g[run]), strict=True):
            np.testing.assert_array_equal(ours[run], theirs)


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
