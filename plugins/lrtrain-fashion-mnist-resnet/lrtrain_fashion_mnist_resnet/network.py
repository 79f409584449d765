"""A small residual network whose convolutions are all of a form that XLA:CPU runs fast in a loop.

Convolutions with a stride are not: a stage begins with the mean of four pixels instead, and the images' own pixels are
taken four at a time, as channels.
"""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

# Of the statistics that an evaluation uses: they are a mean over the last hundred steps or so.
_DECAY = 0.99
_Conv = partial(nn.Conv, use_bias=False)


class ResNet(nn.Module):
    """Maps images ``float[B, H, W, C]`` to logits ``float[B, classes]``.

    Args:
      classes: how many classes there are.
      width: channels of the first stage, which has half the resolution of the images; each later one has twice as many
        channels and half the resolution.
      blocks: residual blocks in each stage.
      stages: how many stages there are.
    """

    classes: int
    width: int
    blocks: int
    stages: int = 3

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the logits; in training with the statistics of the batch, which `batch_stats` then follow."""
        x = _Conv(self.width, (3, 3))(_quarters(images))
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=_DECAY)(x))
        for stage in range(self.stages):
            for block in range(self.blocks):
                halved = _mean_of_quarters(x) if stage and not block else x
                x = Block(self.width << stage)(halved, train)
        return nn.Dense(self.classes)(jnp.mean(x, axis=(1, 2)))


class Block(nn.Module):
    """Two convolutions beside a shortcut, ``float[B, H, W, C]`` to ``float[B, H, W, features]``."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Returns their sum; the second convolution's is zero at first."""
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=_DECAY)
        y = nn.relu(norm()(_Conv(self.features, (3, 3))(x)))
        y = norm(scale_init=nn.initializers.zeros)(_Conv(self.features, (3, 3))(y))
        if x.shape[-1] != self.features:
            x = norm()(_Conv(self.features, (1, 1))(x))
        return nn.relu(x + y)


def _four(x: jax.Array) -> list[jax.Array]:
    """Returns the four pixels of each square of two by two, ``[B, H / 2, W / 2, C]`` each; odd sides get zeros."""
    x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))
    return [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]


def _quarters(x: jax.Array) -> jax.Array:
    return jnp.concatenate(_four(x), axis=-1)


def _mean_of_quarters(x: jax.Array) -> jax.Array:
    return sum(_four(x), start=jnp.zeros((), x.dtype)) / 4
