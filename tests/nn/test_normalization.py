"""Normalisation with its gradient written out beside Flax's own, and beside the formula in float64."""

from __future__ import annotations

import contextlib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrtrain.nn.normalization import fast_normalization
from lrtrain.nn.substitution import with_fast_operations

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

    def total(params: Any, x: Any) -> Any:
        with fast_normalization() if fast else contextlib.nullcontext() as computed:
            out, after = layer.apply({**of, "params": params}, x, mutable="batch_stats", **options)
        assert computed == ([type(layer).__name__] if fast else None)
        return (out * WEIGHTS.reshape(out.shape)).sum(), (out, after)

    grad = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))
    (_, (out, after)), gradients = grad(of["params"], x)
    return out, after.get("batch_stats"), gradients


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
    with fast_normalization() as computed:
        ours = layer.apply(of, IMAGES, mutable="batch_stats", **call)
    assert computed == []
    jax.tree.map(np.testing.assert_array_equal, ours, layer.apply(of, IMAGES, mutable="batch_stats", **call))


@pytest.mark.parametrize(("options", "said"), [
    ({"num_groups": 4}, "does not divide"),
    ({"num_groups": 0}, "does not divide"),
    ({"num_groups": None, "group_size": 4}, "not multiple"),
    ({"num_groups": 7, "group_size": 1}, "Either"),
    ({"num_groups": None}, "Either"),
], ids=str)  # fmt: skip
def test_what_flax_refuses_it_refuses_as_before(options: Any, said: str) -> None:
    with fast_normalization(), pytest.raises(ValueError, match=said):
        nn.GroupNorm(**options).apply({"params": {name: jnp.ones(7) for name in ("scale", "bias")}}, IMAGES)


def test_a_network_begins_as_with_flax_own() -> None:
    layer = nn.BatchNorm(use_running_average=False, scale_init=nn.initializers.normal())
    with fast_normalization():
        ours = layer.init(jax.random.key(3), IMAGES)
    jax.tree.map(np.testing.assert_array_equal, ours, layer.init(jax.random.key(3), IMAGES))


class Normalized(nn.Module):
    """A layer in a layer, one of which is not called in an evaluation."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.GroupNorm(1)(nn.Dense(4)(x))
        return nn.BatchNorm(use_running_average=not train, momentum=0.5)(x) if train else x


def test_layers_within_a_network_that_is_evaluated_with_other_operations() -> None:
    network = Normalized()
    of = network.init(jax.random.key(0), IMAGES, train=True)

    def function(of: Any, x: Any) -> Any:
        return network.apply(of, x, train=True, mutable="batch_stats")

    assert_close(with_fast_operations(function)(of, IMAGES), function(of, IMAGES))
    assert "custom_vjp" in str(jax.make_jaxpr(with_fast_operations(function))(of, IMAGES))
    # JAX keeps the program of a function that it has traced.
    assert "custom_vjp" not in str(jax.make_jaxpr(lambda *given: function(*given))(of, IMAGES))  # noqa: PLW0108


def test_rounding_of_values_far_from_zero() -> None:
    """The mean of squares less the square of the mean has no digit left here."""
    far = IMAGES + np.float32(20_000)
    out, _, _ = trained(layer := nn.BatchNorm(use_running_average=False), variables(layer), far, fast=True)
    x = far.astype(np.float64).reshape(-1, 7)
    expected = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * 1.3 + 0.3
    np.testing.assert_allclose(np.asarray(out).reshape(-1, 7), expected, atol=0.01)
