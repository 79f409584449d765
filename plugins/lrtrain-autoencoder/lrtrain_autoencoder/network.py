"""The encoder and the decoder; imported only when a network is made."""

from __future__ import annotations

import flax.linen as nn  # noqa: TID253 -- this module is imported only when a network is made
import jax  # noqa: TID253 -- likewise


class Autoencoder(nn.Module):
    """Four dense layers: 419,120 parameters for 784 pixels, a width of 256 and a code of 32."""

    width: int
    code: int

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Maps ``[batch, pixels]`` to the images drawn again, ``[batch, pixels]``."""
        x = nn.relu(nn.Dense(self.width)(images))
        x = nn.Dense(self.code)(x)
        x = nn.relu(nn.Dense(self.width)(x))
        return nn.Dense(images.shape[-1])(x)
