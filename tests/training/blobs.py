"""A workload for tests: ten classes of points, a network with BatchNorm and Dropout, in Linen or nnx."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import numpy as np
from flax import nnx

from lrtrain import Classification, DataContext, Dataset, Defaults, Split


class Net(nn.Module):
    width: int = 16
    drop: float = 0.2

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(self.width)(x))
        return nn.Dense(10)(nn.Dropout(self.drop, deterministic=not train)(nn.relu(x)))


class NnxNet(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, width: int = 16) -> None:
        self.layers = nnx.List([nnx.Linear(20, width, rngs=rngs), nnx.Linear(width, 10, rngs=rngs)])
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.drop = nnx.Dropout(0.2, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.layers[1](self.drop(nnx.relu(self.norm(self.layers[0](x)))))


@dataclass(frozen=True, kw_only=True)
class Blobs(Classification):
    """Points around ten centres."""

    defaults: ClassVar[Defaults] = Defaults(3, 64, "momentum", "mean", 0.05)
    kind: str = "linen"
    own_validation: bool = False

    def data(self, context: DataContext) -> Dataset:
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(10, 20))

        def examples(number: int) -> Split:
            labels = rng.integers(0, 10, number)
            return Split((centres[labels] + rng.normal(size=(number, 20))).astype(np.float32), labels)

        data = Dataset("blobs", "1", examples(500), examples(150), num_classes=10)
        return dataclasses.replace(data, validation=examples(70)) if self.own_validation else data

    def network(self, data: Dataset) -> Any:
        return Net() if self.kind == "linen" else NnxNet
