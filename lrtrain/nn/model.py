"""The tutorial's network, and the search and the check of a user's own network."""

from __future__ import annotations

import importlib

import flax.linen as nn
import jax

from lrtrain.errors import ModelError, nearest
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


def load_model(spec: str | None, num_classes: int | None) -> nn.Module:
    """Returns a network, not yet initialised: of ``package.module:Class``, or the tutorial's ``CNN``.

    The number of classes is passed to a class that has a field of that name.

    Raises:
      ModelError: the class cannot be imported, is no Flax module or cannot be made without further arguments.
    """
    if spec is None:
        return CNN(num_classes or 0)
    cls = _find(spec)
    fields = getattr(cls, "__dataclass_fields__", {})
    try:
        module: nn.Module = cls(**({"num_classes": num_classes} if "num_classes" in fields else {}))
    except TypeError as error:
        raise ModelError(f"model '{spec}' cannot be made without further arguments: {error}") from error
    return module


def _find(spec: str) -> type[nn.Module]:
    module_name, _, attribute = spec.partition(":")
    if not module_name or not attribute:
        raise ModelError(f"model '{spec}' is not of the form package.module:Class")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ModelError(f"model '{spec}': cannot import {module_name} ({type(error).__name__}: {error})") from error
    cls = getattr(module, attribute, None)
    if cls is None:
        raise ModelError(f"model '{spec}': {module_name} has no '{attribute}'{nearest(attribute, vars(module))}")
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise ModelError(f"model '{spec}': {attribute} is not a flax.linen.Module class")
    return cls
