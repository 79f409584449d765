"""Networks as a user of Flax writes them, with nothing of lrtrain in them, and workloads that train them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import flax.linen as nn
import jax
from lrtrain_char_lm import CharLM

from lrtrain import Dataset, Defaults, ImageClassification

_GROUPS = 8


class Linear(nn.Module):
    """One dense layer, whose epoch takes a tenth of a second."""

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        return nn.Dense(10)(images.reshape(images.shape[0], -1))


class MLP(nn.Module):
    """Three dense layers: 669,706 parameters for images of 28x28 pixels."""

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        x = images.reshape(images.shape[0], -1)
        for _ in range(2):
            x = nn.relu(nn.Dense(512)(x))
        return nn.Dense(10)(x)


class ConvNet(nn.Module):
    """Two convolutions, each with a maximum over windows, and two dense layers."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for features in (32, 64):
            x = nn.max_pool(nn.relu(nn.Conv(features, (3, 3))(x)), (2, 2), strides=(2, 2))
        x = nn.relu(nn.Dense(128)(x.reshape(x.shape[0], -1)))
        return nn.Dense(10)(x)


class GroupNormResNet(nn.Module):
    """Three residual blocks of 16, 32 and 64 channels; the last two halve the resolution by a stride."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.GroupNorm(_GROUPS)(nn.Conv(16, (3, 3), use_bias=False)(x)))
        for stage in range(3):
            x = Block(16 << stage, 2 if stage else 1)(x)
        return nn.Dense(10)(x.mean((1, 2)))


class Block(nn.Module):
    """Two convolutions beside a shortcut, which is a convolution of one pixel where the shape changes."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        strides = (self.stride, self.stride)
        y = nn.Conv(self.features, (3, 3), strides, padding=1, use_bias=False)(x)
        y = nn.relu(nn.GroupNorm(_GROUPS)(y))
        y = nn.GroupNorm(_GROUPS)(nn.Conv(self.features, (3, 3), use_bias=False)(y))
        if x.shape != y.shape:
            x = nn.GroupNorm(_GROUPS)(nn.Conv(self.features, (1, 1), strides, use_bias=False)(x))
        return nn.relu(x + y)


class Decoder(nn.Module):
    """Two blocks of attention to what came before and of dense layers, with places that are learned."""

    vocabulary: int
    width: int = 128
    heads: int = 4

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        places = self.param("places", nn.initializers.normal(0.02), (tokens.shape[1], self.width))
        x = nn.Embed(self.vocabulary, self.width)(tokens) + places
        mask = nn.make_causal_mask(tokens)
        for _ in range(2):
            x = x + nn.MultiHeadDotProductAttention(self.heads)(nn.LayerNorm()(x), mask=mask)
            y = nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x)))
            x = x + nn.Dense(self.width)(y)
        return nn.Dense(self.vocabulary)(nn.LayerNorm()(x))


@dataclass(frozen=True, kw_only=True)
class OwnDecoder(CharLM):
    """The text of char-lm with AdamW."""

    def network(self, data: Dataset) -> nn.Module:
        return Decoder(1 + int(data.train.targets.max()))


@dataclass(frozen=True, kw_only=True)
class Own(ImageClassification):
    """Fashion-MNIST with Adam on the mean loss."""

    defaults: ClassVar[Defaults] = Defaults(10, 128, "adam", "mean", 1e-3)
    made: ClassVar[type[nn.Module]]

    def network(self, data: Dataset) -> nn.Module:  # as the method that it stands in for
        return self.made()


class OwnMLP(Own):
    made = MLP


class OwnConvNet(Own):
    made = ConvNet


class OwnResNet(Own):
    made = GroupNormResNet
