"""The tutorial's network."""

from __future__ import annotations

import flax.linen as nn
import jax

from lrtrain.nn.conv import conv_general_dilated
from lrtrain.nn.layers import dot_general, relu_before_conv, relu_before_dense


class CNN(nn.Module):
    """Two 3x3 convolutions and a dense layer, without pooling: 130,394 parameters for 28x28x1 images and 10 classes."""

    num_classes: int = 10

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Maps images ``[batch, height, width, channels]`` in [0, 1] to logits ``[batch, num_classes]``."""
        x = nn.Conv(32, (3, 3), conv_general_dilated=conv_general_dilated, name="CONV1")(images)
        x = relu_before_conv(x)
        x = nn.Conv(16, (3, 3), conv_general_dilated=conv_general_dilated, name="CONV2")(x)
        x = relu_before_dense(x)
        x = x.reshape(x.shape[0], -1)
        return nn.Dense(self.num_classes, dot_general=dot_general, name="DENSE")(x)
