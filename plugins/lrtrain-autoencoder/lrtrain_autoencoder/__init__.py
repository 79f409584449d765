"""An autoencoder of Fashion-MNIST, as a workload of lrtrain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from lrtrain import DataContext, Dataset, Defaults, Doc, PositiveInt, Regression, Split

if TYPE_CHECKING:
    import jax

    from lrtrain_autoencoder.network import Autoencoder as Network


@dataclass(frozen=True, kw_only=True)
class Autoencoder(Regression):
    r"""Images of clothes through a narrow layer and back, drawn again from 32 numbers.

    .. math::
        \hat x = d(c(x)), \qquad \ell = \frac{1}{784} \sum_{i=1}^{784} (\hat x_i - x_i)^2

    The images are those of Fashion-MNIST, 60,000 to train with and 10,000 to test with, with values from 0 to 1. The
    encoder c has layers of 784, ``width`` and ``code`` neurons, the decoder d the same in reverse order; the hidden
    layers have ReLU, the code and the output are linear. The problem is ill-conditioned: the mean image is learned in
    a few steps, details take as many as there are.

    Example:
      >>> from lrtrain_autoencoder import Autoencoder
      >>> Autoencoder(code=16).defaults.epochs
      10

    Reference: G. Hinton, R. Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, Science 313, 2006.
    """

    defaults: ClassVar[Defaults] = Defaults(
        epochs=10, batch_size=128, optimizer="momentum", loss_reduction="mean", learning_rate=0.25
    )

    width: Annotated[PositiveInt, Doc("neurons in the hidden layer of the encoder, and in that of the decoder")] = 256
    code: Annotated[PositiveInt, Doc("numbers that an image is encoded in")] = 32

    def data(self, context: DataContext) -> Dataset:
        """Returns images ``uint8[N, 28, 28, 1]``; the targets are the same arrays, so nothing is in memory twice."""
        if self.train is not None:
            return super().data(context)
        from lrtrain import load_dataset

        images = load_dataset("fashion_mnist", data_dir=context.data_dir)
        train, test = (Split(split.inputs, split.inputs) for split in (images.train, images.test))
        return Dataset("fashion_mnist", images.version, train, test)

    def network(self, data: Dataset) -> Network | Any:  # noqa: ARG002 -- a workload's method has it
        """Returns the encoder and the decoder as one network, or the model that was given."""
        if self.model is not None:
            return self.model
        from lrtrain_autoencoder.network import Autoencoder as Network

        return Network(self.width, self.code)

    def inputs(self, raw: Any) -> Any:
        """Divides the images by 255 and makes vectors of them: ``float32[batch, 784]``."""
        import jax.numpy as jnp

        return raw.reshape(len(raw), -1).astype(jnp.float32) / 255

    def loss(self, outputs: Any, targets: Any) -> jax.Array:
        """Returns the mean squared error of each image, whose values are divided by 255 like the inputs."""
        return super().loss(outputs, self.inputs(targets))

    def guess(self, targets: Any) -> float:
        """Returns the mean over the pixels of their variance, from exact sums."""
        count = len(targets)
        total = targets.sum(0, dtype=np.int64)
        squares = np.square(targets, dtype=np.uint16).sum(0, dtype=np.int64)
        return float(np.mean(squares / count - (total / count) ** 2) / 255**2)
