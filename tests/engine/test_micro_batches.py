"""How many examples a core takes at once, by what a network computes."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from lrtrain.engine.micro_batches import examples_at_once
from lrtrain.engine.state import Leaves
from lrtrain.engine.tracing import Traced, traced
from lrtrain.nn.model import CNN
from lrtrain.nn.network import network_of
from lrtrain.workloads.kinds import Classification

IMAGE, TOKENS = ((28, 28, 1), jnp.float32), ((128,), jnp.int32)


class StridedStem(nn.Module):
    """Each of its convolutions is replaced by an operation of another kind."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Conv(32, (3, 3), strides=2)(x))
        return nn.Dense(10)(nn.relu(nn.Conv(32, (3, 3))(x)).mean((1, 2)))


class Patches(nn.Module):
    """Windows that do not overlap are one product."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(10)(nn.Conv(32, (4, 4), strides=4)(x).mean((1, 2)))


class Tokens(nn.Module):
    """Its largest result has ``128 * hidden`` numbers for an example."""

    hidden: int
    vocabulary: int = 100

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(10)(nn.relu(nn.Dense(self.hidden)(nn.Embed(self.vocabulary, 16)(x))).mean(1))


def facts(module: nn.Module, example: Any = IMAGE) -> Traced:
    shape, dtype = example
    inputs = Leaves.of(jnp.zeros((2, *shape), dtype), 2)
    return traced(network_of(module), Classification().rules(), inputs, on_cpu=True)


@pytest.mark.parametrize(("module", "example", "expected"), [
    (CNN(), IMAGE, True),
    (StridedStem(), IMAGE, True),
    (Patches(), IMAGE, False),
    (nn.Sequential([lambda x: x.reshape(len(x), -1), nn.Dense(10)]), IMAGE, False),
    (Tokens(64), TOKENS, False),
], ids=["default", "strided stem", "patches", "dense", "tokens"])  # fmt: skip
def test_which_networks_convolve(module: nn.Module, example: Any, expected: bool) -> None:
    assert facts(module, example).convolves is expected


def test_half_a_megabyte_of_the_largest_result_without_convolutions() -> None:
    assert [examples_at_once(facts(Tokens(hidden), TOKENS)) for hidden in (64, 128, 512, 4096)] == [16, 8, 2, 1]


def test_a_micro_batch_is_no_smaller_than_the_parameters_by_much() -> None:
    of_three_megabytes = Tokens(512, 3 * 2**20 // (4 * 16))
    assert examples_at_once(facts(of_three_megabytes, TOKENS)) == 4


def test_a_network_with_convolutions_takes_more() -> None:
    found = facts(StridedStem())
    assert examples_at_once(found) == 4 * examples_at_once(found._replace(convolves=False))
