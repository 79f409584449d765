"""The two networks; imported only when one is made."""

from __future__ import annotations

import flax.linen as nn  # noqa: TID253 -- this module is imported only when a network is made
import jax  # noqa: TID253 -- likewise


class MLP(nn.Module):
    """Two hidden layers with ReLU: 15,210 parameters for 40 points, a width of 100 and 10 classes."""

    width: int
    num_classes: int

    @nn.compact
    def __call__(self, curves: jax.Array) -> jax.Array:
        """Maps ``[batch, points]`` to logits ``[batch, num_classes]``."""
        x = nn.relu(nn.Dense(self.width)(curves))
        x = nn.relu(nn.Dense(self.width)(x))
        return nn.Dense(self.num_classes)(x)


class CNN(nn.Module):
    """Three convolutions with stride 2 and ReLU: 5,210 parameters for 40 points, 25 channels and 10 classes."""

    width: int
    num_classes: int

    @nn.compact
    def __call__(self, curves: jax.Array) -> jax.Array:
        """Maps ``[batch, points]`` to logits ``[batch, num_classes]``."""
        x = curves[..., None]
        for size in (5, 3, 3):
            x = nn.relu(nn.Conv(self.width, (size,), strides=2)(x))
        return nn.Dense(self.num_classes)(x.reshape(len(x), -1))
