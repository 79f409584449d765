"""The perceptron; imported only when a network is made."""

from __future__ import annotations

import flax.linen as nn  # noqa: TID253 -- this module is imported only when a network is made
import jax  # noqa: TID253 -- likewise


class MLP(nn.Module):
    """Two hidden layers with ReLU: 8,970 parameters for 64 inputs, a width of 64 and 10 classes."""

    width: int
    num_classes: int

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Maps ``[batch, features]`` to logits ``[batch, num_classes]``."""
        x = nn.relu(nn.Dense(self.width)(features))
        x = nn.relu(nn.Dense(self.width)(x))
        return nn.Dense(self.num_classes)(x)
