"""Networks as pure functions: what is taken for one."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from lrtrain.nn.network import network_of


class Layers(nn.Module):
    sizes: object

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(3)(x)


def test_a_module_with_a_list_is_one_with_a_tuple() -> None:
    listed, tupled = (network_of(nn.Sequential(layers)) for layers in ([nn.Dense(3)], (nn.Dense(3),)))
    assert listed == tupled
    assert hash(listed) == hash(tupled)
    params = listed.init(jax.random.PRNGKey(0), jnp.ones((2, 4)))[0]
    assert jax.tree.map(jnp.shape, params) == {"layers_0": {"bias": (3,), "kernel": (4, 3)}}


def test_a_field_that_cannot_be_hashed_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a field of Layers cannot be hashed: give a tuple for a list in it"):
        network_of(Layers(({1, 2},)))
