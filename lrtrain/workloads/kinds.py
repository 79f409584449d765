"""The usual kinds of workloads; one of your own is derived from them in a few lines."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lrtrain.data.types import shape_of
from lrtrain.errors import ModelError
from lrtrain.workloads.headline import ACCURACY, Headline
from lrtrain.workloads.workload import IN_PYTHON, Workload

if TYPE_CHECKING:
    from typing import Self

    import jax


@dataclass(frozen=True, kw_only=True)
class Classification(Workload):
    r"""One of several classes for each example; the headline is the accuracy.

    .. math::
        \ell = -\log \operatorname{softmax}(z)_y

    The network returns logits ``float[batch, classes]``; the targets are labels ``int32[batch]``. Images of type
    uint8 are divided by 255.
    """

    headline: ClassVar[Headline] = ACCURACY
    has_classes: ClassVar[bool] = True

    smoothing: float = field(default=0.0, repr=False, metadata=IN_PYTHON)

    def inputs(self, raw: Any) -> Any:
        """Divides images of type uint8 by 255; anything else is given to the network as it is."""
        import jax.numpy as jnp

        return raw.astype(jnp.float32) / 255 if getattr(raw, "dtype", None) == jnp.uint8 else raw

    def loss(self, outputs: Any, targets: Any) -> jax.Array:
        """Returns the cross-entropy of each example, float32[batch]."""
        import optax

        losses: jax.Array = optax.softmax_cross_entropy_with_integer_labels(outputs, targets)
        return losses

    def training_loss(self, outputs: Any, targets: Any) -> jax.Array:
        """Returns the cross-entropy with smoothed labels, float32[batch]."""
        return _smoothed_loss(outputs, targets, self.smoothing) if self.smoothing else self.loss(outputs, targets)

    def smoothed(self, share: float) -> Self:
        """Returns the workload with that share of each label spread over all classes, in training."""
        return dataclasses.replace(self, smoothing=share)

    def metrics(self, outputs: Any, targets: Any) -> Mapping[str, jax.Array]:
        """Returns ``accuracy``: 1 for each example that is classified right."""
        import jax.numpy as jnp

        return {"accuracy": jnp.argmax(outputs, -1) == targets}

    def guess(self, targets: Any) -> float:
        """Returns the entropy of the classes, in nats."""
        return _entropy(targets)

    def guesses(self, targets: Any) -> Mapping[str, float]:
        """Returns that, and as the accuracy the share of the most frequent class."""
        return {**super().guesses(targets), "accuracy": _largest_share(targets)}


@dataclass(frozen=True, kw_only=True)
class NextToken(Workload):
    """The next token after each token of a sequence; the headline is the loss.

    The network maps tokens ``int32[batch, length]`` to logits ``float[batch, length, vocabulary]``; the targets are
    the tokens that follow, ``int32[batch, length]``. The loss of an example is the mean over its tokens.
    """

    has_classes: ClassVar[bool] = True

    smoothing: float = field(default=0.0, repr=False, metadata=IN_PYTHON)

    def loss(self, outputs: Any, targets: Any) -> jax.Array:
        """Returns the mean cross-entropy over the tokens of each example, in nats, float32[batch]."""
        import jax.numpy as jnp
        import optax

        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, targets), axis=-1)

    def training_loss(self, outputs: Any, targets: Any) -> jax.Array:
        """Returns the mean cross-entropy over the tokens with smoothed labels, float32[batch]."""
        if not self.smoothing:
            return self.loss(outputs, targets)
        return _smoothed_loss(outputs, targets, self.smoothing).mean(axis=-1)

    def smoothed(self, share: float) -> Self:
        """Returns the workload with that share of each token spread over the vocabulary, in training."""
        return dataclasses.replace(self, smoothing=share)

    def metrics(self, outputs: Any, targets: Any) -> Mapping[str, jax.Array]:
        """Returns ``bits_per_token``, the loss in bits, and ``accuracy``, the share of tokens that are predicted."""
        import jax.numpy as jnp

        accuracy = jnp.mean(jnp.argmax(outputs, -1) == targets, axis=-1)
        return {"bits_per_token": self.loss(outputs, targets) / math.log(2), "accuracy": accuracy}

    def guess(self, targets: Any) -> float:
        """Returns the entropy of the tokens, in nats."""
        return _entropy(targets)

    def guesses(self, targets: Any) -> Mapping[str, float]:
        """Returns that, also in bits, and as the accuracy the share of the most frequent token."""
        loss = self.guess(targets)
        return {"loss": loss, "bits_per_token": loss / math.log(2), "accuracy": _largest_share(targets)}


@dataclass(frozen=True, kw_only=True)
class Regression(Workload):
    r"""Numbers for each example, float32 of any shape; the headline is the loss, the mean squared error.

    .. math::
        \ell = \frac{1}{n} \sum_{i=1}^{n} (\hat y_i - y_i)^2
    """

    def loss(self, outputs: Any, targets: Any) -> jax.Array:
        """Returns the mean squared error of each example, float32[batch].

        Raises:
          ModelError: outputs and targets differ in shape, so that a difference would be that of unlike examples.
        """
        import jax.numpy as jnp

        if outputs.shape != targets.shape:
            raise ModelError(
                f"the network returns {shape_of(outputs)} for targets {shape_of(targets)}: give both one shape, such "
                "as float32[batch, 1]"
            )
        return jnp.mean(jnp.square(outputs - targets).reshape(len(targets), -1), axis=-1)

    def guess(self, targets: Any) -> float:
        """Returns the variance of the targets, each place on its own."""
        return float(np.mean(np.var(np.asarray(targets, np.float64), axis=0)))


def _smoothed_loss(outputs: Any, labels: Any, share: float) -> jax.Array:
    import jax
    import optax

    smooth = optax.smooth_labels(jax.nn.one_hot(labels, outputs.shape[-1], dtype=outputs.dtype), share)
    losses: jax.Array = optax.softmax_cross_entropy(outputs, smooth)
    return losses


def _entropy(labels: Any) -> float:
    counts = np.unique(np.asarray(labels), return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _largest_share(labels: Any) -> float:
    counts = np.unique(np.asarray(labels), return_counts=True)[1]
    return float(counts.max() / counts.sum())
