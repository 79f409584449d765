"""lrtrain's batch normalisation beside Flax's own, and beside the formula in float64."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrtrain

RANDOM = np.random.default_rng(0)
IMAGES = np.asarray(RANDOM.normal(2, 5, (6, 5, 4, 7)), np.float32)
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


def trained(layer: Any, of: Any, x: Any = IMAGES, **options: Any) -> Any:
    """Returns the outputs, the statistics after them, and the gradients by parameters and images."""

    def total(params: Any, x: Any) -> Any:
        out, after = layer.apply({**of, "params": params}, x, mutable="batch_stats", **options)
        return (out * WEIGHTS.reshape(out.shape)).sum(), (out, after)

    grad = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))
    (_, (out, after)), gradients = grad(of["params"], x)
    return out, after["batch_stats"], gradients


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
def test_outputs_statistics_and_gradients_are_those_of_flax(options: Any) -> None:
    ours, theirs = (layer(use_running_average=False, **options) for layer in (lrtrain.BatchNorm, nn.BatchNorm))
    of = variables(theirs)
    assert_close(trained(ours, of), trained(theirs, of))


def test_it_is_the_formula() -> None:
    layer = lrtrain.BatchNorm(use_running_average=False)
    of = variables(layer)
    out, after, (by_params, _) = trained(layer, of)
    x, weights = (values.astype(np.float64).reshape(-1, 7) for values in (IMAGES, WEIGHTS))
    mean, var = x.mean(0), x.var(0)
    unit = (x - mean) / np.sqrt(var + 1e-5)
    assert_close(np.asarray(out).reshape(-1, 7), unit * np.float64(of["params"]["scale"]) + 0.3)
    expected = {name: 0.99 * STATISTICS[name] + 0.01 * now for name, now in (("mean", mean), ("var", var))}
    assert_close(after, expected)
    assert_close(by_params, {"bias": weights.sum(0), "scale": (weights * unit).sum(0)})


def test_gradient_of_the_images_is_that_of_differences() -> None:
    layer = lrtrain.BatchNorm(use_running_average=False)
    of = variables(layer)
    _, _, (_, by_images) = trained(layer, of)

    def total(x: Any) -> float:
        flat = x.reshape(-1, 7)
        unit = (flat - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5)
        return float(((unit * np.float64(of["params"]["scale"]) + 0.3) * WEIGHTS.reshape(-1, 7)).sum())

    for place in [(0, 0, 0, 0), (3, 2, 1, 5), (5, 4, 3, 6)]:
        step = np.zeros(IMAGES.shape)
        step[place] = 1e-5
        difference = (total(IMAGES + step) - total(IMAGES - step)) / 2e-5
        np.testing.assert_allclose(by_images[place], difference, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("options", "call"), [
    ({"use_running_average": True}, {}),
    ({"use_running_average": False}, {"mask": np.arange(6).reshape(6, 1, 1, 1) < 4}),
    ({"use_running_average": False, "axis": 1}, {}),
    ({"use_running_average": False, "dtype": jnp.bfloat16}, {}),
], ids=str)  # fmt: skip
def test_what_is_not_plain_is_flax_own(options: Any, call: Any) -> None:
    of = {"params": {name: jnp.arange(1.0, 8.0) for name in ("scale", "bias")}, "batch_stats": STATISTICS}
    if "axis" in options:
        of = jax.tree.map(lambda leaf: leaf[:5], of)
    (one, other) = (
        layer(**options).apply(of, IMAGES, mutable="batch_stats", **call) for layer in (lrtrain.BatchNorm, nn.BatchNorm)
    )
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_network_begins_as_with_flax_own() -> None:
    drawn = {"scale_init": nn.initializers.normal(), "bias_init": nn.initializers.normal()}
    ours, theirs = (
        layer(use_running_average=False, **drawn).init(jax.random.key(3), IMAGES)
        for layer in (lrtrain.BatchNorm, nn.BatchNorm)
    )
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_rounding_of_values_far_from_zero() -> None:
    """The mean of squares less the square of the mean has no digit left here."""
    far = IMAGES + np.float32(20_000)
    out, _, _ = trained(layer := lrtrain.BatchNorm(use_running_average=False), variables(layer), far)
    x = far.astype(np.float64).reshape(-1, 7)
    expected = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * 1.3 + 0.3
    np.testing.assert_allclose(np.asarray(out).reshape(-1, 7), expected, atol=0.01)
