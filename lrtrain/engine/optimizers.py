"""The optimizers by name, each with a unit learning rate: the engine multiplies its update by the schedule's value."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from lrtrain.errors import UsageError, nearest

if TYPE_CHECKING:
    import optax

OPTIMIZERS = ("adagrad", "adam", "adamw", "lamb", "lion", "momentum", "nadam", "nesterov", "rmsprop", "sgd")
# The update of the others is divided by the size of the gradient.
PROPORTIONAL_TO_THE_GRADIENT = ("momentum", "nesterov", "sgd")


@functools.cache
def changed_gradients(
    transformation: optax.GradientTransformation, clip_norm: float | None, weight_decay: float
) -> optax.GradientTransformation:
    """Returns an optimizer whose gradients are changed first; the same object for equal arguments.

    A gradient whose norm, over all parameters, is above ``clip_norm`` is scaled down to it. Then ``weight_decay`` times
    each weight is added to its gradient, but for biases and scales, which have less than two dimensions.
    """
    import jax
    import optax

    def mask(params: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    clips = [] if clip_norm is None else [optax.clip_by_global_norm(clip_norm)]
    decays = [optax.add_decayed_weights(weight_decay, mask)] if weight_decay else []
    return optax.chain(*clips, *decays, transformation) if clips or decays else transformation


@functools.cache
def optimizer(name: str) -> optax.GradientTransformation:
    """Returns the optimizer of a name in `OPTIMIZERS`, such that ``params - learning_rate * update`` is its step.

    Every call returns the same object, so that runs with one optimizer share one compiled step. Options are optax's
    defaults, momentum is 0.9. Weight decay is part of the update and so is multiplied by the learning rate. Raises
    UsageError when the name is unknown.
    """
    if name not in OPTIMIZERS:
        raise UsageError(f"unknown optimizer '{name}'{nearest(name, OPTIMIZERS)}; known are {', '.join(OPTIMIZERS)}")
    import optax

    # Optax multiplies by minus the learning rate at the end: -1 leaves the update unchanged.
    if name in ("momentum", "nesterov"):
        return optax.sgd(-1.0, momentum=0.9, nesterov=name == "nesterov")
    transformation: optax.GradientTransformation = getattr(optax, name)(-1.0)
    return transformation
