"""The network and its loss in Flax and Optax, as anyone would write them; what the plain competitors share."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.problem import BATCH, LEARNING_RATE, Split

tx = optax.sgd(LEARNING_RATE)


class CNN(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Conv(features=32, kernel_size=(3, 3), padding="SAME", name="CONV1")(x))
        x = nn.relu(nn.Conv(features=16, kernel_size=(3, 3), padding="SAME", name="CONV2")(x))
        return nn.Dense(10, name="DENSE")(x.reshape((x.shape[0], -1)))


def loss_of(params: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
    logits = CNN().apply({"params": params}, images)
    loss: jax.Array = optax.softmax_cross_entropy(logits, jax.nn.one_hot(labels, 10)).sum()
    return loss


def step(params: Any, opt_state: Any, images: jax.Array, labels: jax.Array) -> Any:
    loss, gradients = jax.value_and_grad(loss_of)(params, images, labels)
    updates, opt_state = tx.update(gradients, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


def arrays(split: Split) -> tuple[jax.Array, jax.Array]:
    """Puts the data on JAX's device, the images in [0, 1]."""
    return jnp.asarray(split.inputs / np.float32(255)), jnp.asarray(split.targets)


def mean_losses(sums: Any) -> list[float]:
    """Waits for the sums of batches; returns the means of an example."""
    return [float(loss) / BATCH for loss in sums]
