from __future__ import annotations

import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrtrain.engine.optimizers import OPTIMIZERS, optimizer
from lrtrain.errors import UsageError

REFERENCES: dict[str, Any] = {
    "adagrad": optax.adagrad,
    "adam": optax.adam,
    "adamw": optax.adamw,
    "lamb": optax.lamb,
    "lion": optax.lion,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "nadam": optax.nadam,
    "nesterov": lambda rate: optax.sgd(rate, momentum=0.9, nesterov=True),
    "rmsprop": optax.rmsprop,
    "sgd": optax.sgd,
}
RATES = [0.1, 0.03, 0.3, 0.0, 0.01]


def gradient(params: Any) -> Any:
    return jax.grad(lambda p: jnp.sum(jnp.sin(3 * p["a"]) * p["a"]) + jnp.sum(p["b"] ** 4))(params)


def test_names() -> None:
    assert set(OPTIMIZERS) == set(REFERENCES)
    assert list(OPTIMIZERS) == sorted(OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_optax(name: str) -> None:
    params = expected = {"a": jnp.linspace(-1.0, 2.0, 6).reshape(2, 3), "b": jnp.array([0.5, -1.5])}
    ours, theirs = optimizer(name), REFERENCES[name](lambda count: jnp.asarray(RATES)[count])
    state, reference = ours.init(params), theirs.init(expected)
    for rate in RATES:
        updates, state = ours.update(gradient(params), state, params)
        params = jax.tree.map(lambda p, u, rate=rate: p - rate * u, params, updates)
        changes, reference = theirs.update(gradient(expected), reference, expected)
        expected = optax.apply_updates(expected, changes)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), params, expected)


def test_one_object_for_each_name() -> None:
    assert optimizer("adam") is optimizer("adam")


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"unknown optimizer 'adm' .did you mean 'adam'"):
        optimizer("adm")


def test_names_without_optax() -> None:
    code = "import sys, lrtrain.engine.optimizers; sys.exit(bool({'jax', 'optax'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True)
