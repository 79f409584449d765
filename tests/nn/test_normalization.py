"""Normalisation with its gradient written out beside Flax's own, and beside the formula in float64."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.errors import ScopeCollectionNotFound

from lrtrain.nn.normalization import named_normalization
from lrtrain.nn.substitution import has_slow_operations, with_fast_operations

RANDOM = np.random.default_rng(0)
IMAGES = np.asarray(RANDOM.normal(2, 5, (6, 5, 4, 7)), np.float32)
MASK = np.arange(6).reshape(6, 1, 1, 1) < 4
WEIGHTS = np.asarray(RANDOM.normal(size=IMAGES.shape), np.float32)
STATISTICS = {
    "mean": np.asarray(RANDOM.normal(size=7), np.float32),
    "var": np.asarray(RANDOM.uniform(1, 2, 7), np.float32),
}


def variables(layer: Any, x: Any = IMAGES) -> Any:
    """Returns the layer's variables, its parameters and statistics moved away from zeros and ones."""
    fresh = layer.init(jax.random.key(0), x)
    moved = jax.tree.map(lambda leaf: leaf + 0.3, fresh.get("params", {}))
    return {"params": moved, "batch_stats": STATISTICS}


def trained(layer: Any, of: Any, x: Any = IMAGES, *, fast: bool = False, **options: Any) -> Any:
    """Returns the outputs, the statistics after them, and the gradients by parameters and images."""

    def apply(params: Any, x: Any) -> Any:
        out, after = layer.apply({**of, "params": params}, x, mutable="batch_stats", **options)
        return out, after.get("batch_stats")

    def total(params: Any, x: Any) -> Any:
        out, after = (with_fast_operations(apply) if fast else apply)(params, x)
        return (out * WEIGHTS.reshape(out.shape)).sum(), (out, after)

    assert not fast or is_replaced(apply, of["params"], x)
    grad = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))
    (_, (out, after)), gradients = grad(of["params"], x)
    return out, after, gradients


def is_replaced(function: Any, *given: Any) -> bool:
    with named_normalization():
        # JAX keeps the program of a function that it has traced.
        return has_slow_operations(jax.make_jaxpr(functools.partial(function))(*given))


def assert_close(one: Any, other: Any, tolerance: float = 2e-5) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), one, other)


@pytest.mark.parametrize("options", [
    {},
    {"momentum": 0.5, "epsilon": 1e-2},
    {"use_scale": False},
    {"use_bias": False},
    {"use_scale": False, "use_bias": False},
    {"axis": 3},
    {"dtype": jnp.float32},
], ids=str)  # fmt: skip
def test_batches_as_flax_has_them(options: Any) -> None:
    layer = nn.BatchNorm(use_running_average=False, **options)
    of = variables(layer)
    assert_close(trained(layer, of, fast=True), trained(layer, of))


@pytest.mark.parametrize("options", [
    {"num_groups": 1},
    {"num_groups": 7},
    {"num_groups": None, "group_size": 7},
    {"num_groups": None, "group_size": 1, "epsilon": 1e-2},
    {"num_groups": 1, "use_scale": False},
    {"num_groups": 1, "use_bias": False},
    {"num_groups": 7, "use_scale": False, "use_bias": False, "dtype": jnp.float32},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("shape", [IMAGES.shape, (6, 20, 7)], ids=str)
def test_groups_as_flax_has_them(options: Any, shape: Any) -> None:
    layer, x = nn.GroupNorm(**options), IMAGES.reshape(shape)
    of = variables(layer, x)
    assert_close(trained(layer, of, x, fast=True), trained(layer, of, x))


def test_groups_of_rows_as_flax_has_them() -> None:
    layer, x = nn.GroupNorm(1), IMAGES.reshape(-1, 7)
    of = variables(layer, x)
    assert_close(trained(layer, of, x, fast=True), trained(layer, of, x))


def test_it_is_the_formula() -> None:
    layer = nn.BatchNorm(use_running_average=False)
    of = variables(layer)
    out, after, (by_params, _) = trained(layer, of, fast=True)
    x, weights = (values.astype(np.float64).reshape(-1, 7) for values in (IMAGES, WEIGHTS))
    mean, var = x.mean(0), x.var(0)
    unit = (x - mean) / np.sqrt(var + 1e-5)
    assert_close(np.asarray(out).reshape(-1, 7), unit * np.float64(of["params"]["scale"]) + 0.3)
    expected = {name: 0.99 * STATISTICS[name] + 0.01 * now for name, now in (("mean", mean), ("var", var))}
    assert_close(after, expected)
    assert_close(by_params, {"bias": weights.sum(0), "scale": (weights * unit).sum(0)})


def test_gradient_of_the_images_is_that_of_differences() -> None:
    layer = nn.BatchNorm(use_running_average=False)
    of = variables(layer)
    _, _, (_, by_images) = trained(layer, of, fast=True)

    def total(x: Any) -> float:
        flat = x.reshape(-1, 7)
        unit = (flat - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5)
        return float(((unit * np.float64(of["params"]["scale"]) + 0.3) * WEIGHTS.reshape(-1, 7)).sum())

    for place in [(0, 0, 0, 0), (3, 2, 1, 5), (5, 4, 3, 6)]:
        step = np.zeros(IMAGES.shape)
        step[place] = 1e-5
        difference = (total(IMAGES + step) - total(IMAGES - step)) / 2e-5
        np.testing.assert_allclose(by_images[place], difference, rtol=1e-3, atol=1e-4)


class Own(nn.BatchNorm):
    """A layer of a user, whose call may be another one."""


@pytest.mark.parametrize(("layer", "call"), [
    (nn.BatchNorm(use_running_average=True), {}),
    (nn.BatchNorm(use_running_average=False), {"mask": MASK}),
    (nn.BatchNorm(use_running_average=False, axis=1), {}),
    (nn.BatchNorm(use_running_average=False, dtype=jnp.bfloat16), {}),
    (Own(use_running_average=False), {}),
    (nn.GroupNorm(1), {"mask": np.broadcast_to(MASK, IMAGES.shape)}),
    (nn.GroupNorm(1, reduction_axes=(1, 3)), {}),
    (nn.GroupNorm(1, dtype=jnp.bfloat16), {}),
    (nn.LayerNorm(), {}),
], ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else ", ".join(value))  # fmt: skip
def test_what_is_not_plain_is_flax_own(layer: Any, call: Any) -> None:
    of = {"params": {name: jnp.arange(1.0, 8.0) for name in ("scale", "bias")}, "batch_stats": STATISTICS}
    if getattr(layer, "axis", -1) == 1:
        of = jax.tree.map(lambda leaf: leaf[:5], of)

    def apply(of: Any, x: Any) -> Any:
        return layer.apply(of, x, mutable="batch_stats", **call)

    assert not is_replaced(apply, of, IMAGES)
    with named_normalization():
        ours = apply(of, IMAGES)
    jax.tree.map(np.testing.assert_array_equal, ours, apply(of, IMAGES))


@pytest.mark.parametrize(("options", "said"), [
    ({"num_groups": 4}, "does not divide"),
    ({"num_groups": 0}, "does not divide"),
    ({"num_groups": None, "group_size": 4}, "not multiple"),
    ({"num_groups": 7, "group_size": 1}, "Either"),
    ({"num_groups": None}, "Either"),
], ids=str)  # fmt: skip
def test_what_flax_refuses_it_refuses_as_before(options: Any, said: str) -> None:
    with named_normalization(), pytest.raises(ValueError, match=said):
        nn.GroupNorm(**options).apply({"params": {name: jnp.ones(7) for name in ("scale", "bias")}}, IMAGES)


def test_a_network_begins_as_with_flax_own() -> None:
    layer = nn.BatchNorm(use_running_average=False, scale_init=nn.initializers.normal())
    with named_normalization():
        ours = layer.init(jax.random.key(3), IMAGES)
    jax.tree.map(np.testing.assert_array_equal, ours, layer.init(jax.random.key(3), IMAGES))


class Normalized(nn.Module):
    """A layer after a layer."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.BatchNorm(use_running_average=False, momentum=0.5)(nn.GroupNorm(1)(nn.Dense(4)(x)))


class Twice(nn.Module):
    """What a layer has just learned of the batch decides the outputs, and their gradient."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(3)(x)
        norm = nn.BatchNorm(momentum=0.5)
        return norm(x, use_running_average=False) + norm(jnp.square(x), use_running_average=True)


class Inner(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.tanh(nn.GroupNorm(2)(nn.Dense(6)(x)))


class Forwards(nn.Module):
    """The derivative in one direction is an output."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        given = (x,), (jnp.ones_like(x),)
        out, tangent = nn.jvp(lambda module, x: module(x), Inner(), *given, variable_tangents={})
        return out + tangent


class Forked(nn.Module):
    """Differentiated by its inputs within, so that JAX has programs of the same name with other arguments."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inner = Inner()
        out, gradient = nn.vjp(lambda module, x: module(x), inner, x)
        return out + gradient(jnp.ones_like(out))[1][..., :6]


class Compiled(nn.Module):
    """A network that Flax compiles by itself."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.jit(nn.GroupNorm)(1)(nn.Dense(4)(x)) + nn.remat(nn.GroupNorm)(1)(nn.Dense(4)(x))


@pytest.mark.parametrize(
    "network", [Normalized(), Twice(), Forwards(), Compiled()], ids=lambda each: type(each).__name__
)
def test_within_a_network_that_is_evaluated_with_other_operations(network: nn.Module) -> None:
    of = network.init(jax.random.key(0), IMAGES)

    def graded(function: Any) -> Any:
        def total(of: Any, x: Any) -> Any:
            out, after = function(of, x)
            return (out**3).mean(), (out, after)

        return jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))(of, IMAGES)

    def apply(of: Any, x: Any) -> Any:
        return network.apply(of, x, mutable="batch_stats")

    assert_close(graded(with_fast_operations(apply)), graded(apply), 2e-4)


def test_a_network_that_is_traced_example_by_example_is_replaced_too() -> None:
    layer = nn.GroupNorm(7)
    of = layer.init(jax.random.key(0), IMAGES)

    def alone(of: Any, x: Any) -> Any:
        return jax.vmap(lambda image: layer.apply(of, image[None])[0])(x)

    assert is_replaced(alone, of, IMAGES)
    ours, flax_own = (
        jax.grad(lambda of, f=function: (f(of, IMAGES) * WEIGHTS).sum())(of)
        for function in (with_fast_operations(alone), layer.apply)
    )
    assert_close(ours, flax_own)


def test_flax_own_error_where_a_layer_has_no_statistics() -> None:
    layer = nn.BatchNorm(use_running_average=False, use_scale=False, use_bias=False)
    with named_normalization(), pytest.raises(ScopeCollectionNotFound):
        layer.apply({}, IMAGES)


def test_types_are_those_of_flax() -> None:
    layer, x = nn.GroupNorm(1, param_dtype=jnp.float64), jnp.asarray(IMAGES, jnp.float32)
    with jax.enable_x64(True), named_normalization():
        of = layer.init(jax.random.key(0), x)
        assert layer.apply(of, x).dtype == jnp.float64


def test_rounding_of_values_far_from_zero() -> None:
    """The mean of squares less the square of the mean has no digit left here."""
    far = IMAGES + np.float32(20_000)
    out, _, _ = trained(layer := nn.BatchNorm(use_running_average=False), variables(layer), far, fast=True)
    x = far.astype(np.float64).reshape(-1, 7)
    expected = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * 1.3 + 0.3
    np.testing.assert_allclose(np.asarray(out).reshape(-1, 7), expected, atol=0.01)
