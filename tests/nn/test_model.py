from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from lrtrain.errors import ModelError
from lrtrain.nn.model import CNN, check_model, load_model


class WithClasses(nn.Module):
    num_classes: int = 3

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(self.num_classes)(x.reshape(x.shape[0], -1))


class WithoutClasses(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(10)(x.reshape(x.shape[0], -1))


class NeedsWidth(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(self.width)(x)


class Unflattened(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(10)(x)


class Normalised(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return WithoutClasses()(nn.BatchNorm(use_running_average=True)(x))


class NeedsArgument(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return WithoutClasses()(x)


class Pair(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> Any:
        return WithoutClasses()(x), x


class ArgMax(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return WithoutClasses()(x).astype(jnp.int32)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> str:
    name = "models_of_a_user"
    made = ModuleType(name)
    vars(made).update({cls.__name__: cls for cls in (WithClasses, WithoutClasses, NeedsWidth)}, helper=len, dict=dict)
    monkeypatch.setitem(sys.modules, name, made)
    return name


def test_cnn_is_the_tutorials() -> None:
    params = CNN().init(jax.random.PRNGKey(0), jnp.zeros((1, 28, 28, 1)))["params"]
    assert jax.tree.map(jnp.shape, params) == {
        "CONV1": {"kernel": (3, 3, 1, 32), "bias": (32,)},
        "CONV2": {"kernel": (3, 3, 32, 16), "bias": (16,)},
        "DENSE": {"kernel": (12544, 10), "bias": (10,)},
    }
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 130_394


def test_the_default_is_the_cnn() -> None:
    assert load_model(None, 7) == CNN(num_classes=7)


def test_models_by_name(module: str) -> None:
    assert load_model(f"{module}:WithClasses", 7).num_classes == 7
    assert load_model(f"{module}:WithoutClasses", 7) == WithoutClasses()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nocolon", "model 'nocolon' is not of the form package.module:Class"),
        ("no_such_module:Net", "cannot import no_such_module .ModuleNotFoundError"),
        ("models_of_a_user:WithClases", "has no 'WithClases' .did you mean 'WithClasses'"),
        ("models_of_a_user:helper", "helper is not a flax.linen.Module class"),
        ("models_of_a_user:dict", "dict is not a flax.linen.Module class"),
        ("models_of_a_user:NeedsWidth", "cannot be made without further arguments: .*width"),
    ],
)
@pytest.mark.usefixtures("module")
def test_errors_of_loading(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load_model(spec, 10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", [CNN(), WithoutClasses(), WithClasses(10)])
def test_models_that_fit(model: nn.Module) -> None:
    check_model(model, (8, 6, 3), 10)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (WithClasses(), r"WithClasses maps images float32\[2, 8, 6, 3\] to float32\[2, 3\], not to logits .*\[2, 10\]"),
        (Unflattened(), r"to float32\[2, 8, 6, 10\], not to"),
        (Normalised(), "keeps 'batch_stats' besides its parameters"),
        (NeedsArgument(), "fails on images .batch, 8, 6, 3.: TypeError: .*train"),
        (Pair(), "not to logits"),
        (ArgMax(), r"to int32\[2, 10\], not to logits"),
    ],
)
def test_models_that_do_not_fit(model: nn.Module, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        check_model(model, (8, 6, 3), 10)
    assert "\n" not in str(caught.value)
