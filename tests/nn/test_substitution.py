"""A network as anyone writes it has the same values and gradients when its slow operations are replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lrtrain.nn.conv import is_slow_in_loop
from lrtrain.nn.model import CNN
from lrtrain.nn.network import network_of
from lrtrain.nn.substitution import has_slow_operations, with_fast_operations

IMAGES = jnp.asarray(np.random.default_rng(0).standard_normal((4, 12, 12, 3)), jnp.float32)


class Pooled(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.max_pool(nn.relu(nn.Conv(8, (3, 3))(x)), (2, 2), strides=(2, 2))
        x = nn.max_pool(nn.relu(nn.Conv(16, (3, 3))(x)), (3, 3), strides=(2, 2), padding="SAME")
        return nn.Dense(10)(x.reshape(x.shape[0], -1))


class Residual(nn.Module):
    """Strides, kernels of one pixel, normalisation by groups, within a function that is compiled by itself."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.relu(nn.GroupNorm(4)(nn.Conv(16, (3, 3), (2, 2), use_bias=False)(x)))
        y = nn.GroupNorm(4)(nn.Conv(16, (3, 3), use_bias=False)(y))
        y = y + nn.Conv(16, (1, 1), (2, 2), use_bias=False)(x)
        return nn.Dense(10)(jax.jit(lambda y: nn.max_pool(y, (2, 2), (2, 2)))(y).mean((1, 2)))


class Line(nn.Module):
    """Convolutions over one axis, which stay as they are."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(10)(nn.Conv(8, (3,))(x[:, 0]).mean(1))


class OfNnx(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(3, 8, (3, 3), strides=2, rngs=rngs)
        self.dense = nnx.Linear(8, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.dense(nnx.max_pool(self.conv(x), (2, 2), (2, 2)).mean((1, 2)))


def functions(model: Any) -> tuple[Callable[..., Any], Any]:
    """Returns the network's outputs as a function of parameters and images, and parameters."""
    network = network_of(model)
    params, state = network.init(jax.random.PRNGKey(0), IMAGES)
    return lambda params, images: network.apply(params, state, images, train=True)[0], params


def graded(function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.value_and_grad(lambda *given: jnp.sum(jax.nn.log_softmax(function(*given))[:, 3]), argnums=(0, 1))


@pytest.mark.parametrize("model", [Pooled(), Residual(), Line(), OfNnx])
def test_values_and_gradients(model: Any) -> None:
    function, params = functions(model)
    np.testing.assert_allclose(
        with_fast_operations(function)(params, IMAGES), function(params, IMAGES), rtol=1e-4, atol=1e-5
    )
    ours, expected = (graded(each)(params, IMAGES) for each in (with_fast_operations(function), function))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), ours, expected)


@pytest.mark.parametrize("model", [Pooled(), Residual(), OfNnx])
def test_nothing_is_left_that_is_slow_in_a_loop(model: Any) -> None:
    function, params = functions(model)
    assert has_slow_operations(jax.make_jaxpr(function)(params, IMAGES))
    assert is_slow_in_loop(jax.make_jaxpr(graded(function))(params, IMAGES))
    program = jax.make_jaxpr(graded(with_fast_operations(function)))(params, IMAGES)
    assert not is_slow_in_loop(program)
    assert "select_and_scatter" not in str(program)


def test_what_is_fast_already_stays() -> None:
    network = network_of(CNN())
    params, state = network.init(jax.random.PRNGKey(0), IMAGES)
    assert not has_slow_operations(jax.make_jaxpr(lambda p, x: network.apply(p, state, x)[0])(params, IMAGES))


def test_trees_of_arrays() -> None:
    def function(both: dict[str, jax.Array], none: None) -> dict[str, Any]:
        assert none is None
        return {"max": nn.max_pool(both["x"], (2, 2), (2, 2)), "same": (both["y"], 3)}

    given = {"x": IMAGES, "y": jnp.arange(3)}
    ours, expected = with_fast_operations(function)(given, None), function(given, None)
    jax.tree.map(np.testing.assert_array_equal, ours, expected)


class InitialisedOnce(nn.Module):
    """A network that notes in its state, as a constant, that it has been trained."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        known = self.variable("flags", "trained", lambda: jnp.array(False))
        if train:
            known.value = jnp.array(True)
        return nn.Dense(10)(nn.Conv(8, (3, 3))(x).mean((1, 2)))


def test_a_constant_stays_an_array() -> None:
    network = network_of(InitialisedOnce())
    params, state = network.init(jax.random.PRNGKey(0), IMAGES)
    given = params, state, IMAGES
    _, after = with_fast_operations(lambda *arrays: network.apply(*arrays, train=True))(*given)
    assert after["flags"]["trained"].dtype == jnp.bool_
    assert after["flags"]["trained"]


def pooled(window: int, strides: int, dtype: Any = jnp.float32, times: int = 1) -> Callable[[jax.Array], Any]:
    def function(x: jax.Array) -> Any:
        x = x.astype(dtype)
        for _ in range(times):
            lowest = jnp.array(False) if dtype == jnp.bool_ else jnp.array(-jnp.inf, dtype)
            x = jax.lax.reduce_window(x, lowest, jax.lax.max, (1, window, window, 1), (1, strides, strides, 1), "VALID")
        return x

    return function


@pytest.mark.parametrize(
    "function",
    [
        pooled(8, 8),
        pooled(2, 2, jnp.bool_),
        pooled(2, 2, jnp.float8_e4m3fn),
        pooled(13, 1),
        lambda x: nn.Conv(6, (3, 3), feature_group_count=3).init_with_output(jax.random.PRNGKey(0), x)[0],
        lambda x: nn.Conv(6, (3, 3), kernel_dilation=2).init_with_output(jax.random.PRNGKey(0), x)[0],
        lambda x: nn.Conv(6, (13, 3), (2, 2), padding="VALID").init_with_output(jax.random.PRNGKey(0), x)[0],
        lambda x: nn.Conv(6, (13, 3), padding="VALID").init_with_output(jax.random.PRNGKey(0), x)[0],
    ],
    ids=["large window", "bool", "float8", "empty maximum", "groups", "dilated", "empty with strides", "empty"],
)
def test_what_is_not_replaced(function: Callable[[jax.Array], Any]) -> None:
    program = jax.make_jaxpr(function)(IMAGES)
    assert not has_slow_operations(program)
    ours, expected = with_fast_operations(function)(IMAGES), function(IMAGES)
    assert ours.dtype == expected.dtype
    # NumPy knows no NaN of eight bits.
    np.testing.assert_array_equal(ours.astype(jnp.float32), expected.astype(jnp.float32))


def test_what_is_empty_at_last_is_as_it_was() -> None:
    function = pooled(2, 2, times=4)
    assert with_fast_operations(function)(IMAGES).shape == function(IMAGES).shape == (4, 0, 0, 3)
