from __future__ import annotations

import jax
import jax.numpy as jnp

from lrtrain.nn.model import CNN


def test_cnn_is_the_tutorials() -> None:
    params = CNN().init(jax.random.PRNGKey(0), jnp.zeros((1, 28, 28, 1)))["params"]
    assert jax.tree.map(jnp.shape, params) == {
        "CONV1": {"kernel": (3, 3, 1, 32), "bias": (32,)},
        "CONV2": {"kernel": (3, 3, 32, 16), "bias": (16,)},
        "DENSE": {"kernel": (12544, 10), "bias": (10,)},
    }
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 130_394
