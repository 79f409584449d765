from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrtrain.conv import is_slow_in_loop
from lrtrain.model import CNN
from lrtrain.relu import relu_before_conv, relu_before_dense

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


class Plain(nn.Module):
    """The tutorial's network as its text has it, with the names of ours."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Conv(32, (3, 3), name="CONV1")(x))
        x = nn.relu(nn.Conv(16, (3, 3), name="CONV2")(x))
        return nn.Dense(10, name="DENSE")(x.reshape(x.shape[0], -1))


def test_the_network_is_the_tutorials() -> None:
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(5, 28, 28, 1)), jnp.float32)
    labels = jax.nn.one_hot(jnp.arange(5), 10)
    variables = Plain().init(jax.random.key(0), x)

    def loss(model: nn.Module, variables: Any) -> jax.Array:
        return -jnp.sum(labels * jax.nn.log_softmax(model.apply(variables, x)))

    for of in (loss, jax.grad(loss, argnums=1)):
        mine, plain = (jax.tree.leaves(jax.jit(of, static_argnums=0)(m, variables)) for m in (CNN(), Plain()))
        for ours, theirs in zip(mine, plain, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)
    assert not is_slow_in_loop(jax.make_jaxpr(jax.grad(lambda v: loss(CNN(), v)))(variables))
