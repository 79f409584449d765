"""MNIST-1D, digits as curves of 40 points, as a workload of lrtrain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from lrtrain import Classification, DataContext, Dataset, Defaults, Doc, PositiveInt

if TYPE_CHECKING:
    from lrtrain_mnist1d.network import CNN, MLP


@dataclass(frozen=True, kw_only=True)
class MNIST1D(Classification):
    r"""Digits as curves of 40 points, in ten classes, and a perceptron or a convolutional network.

    .. math::
        z = W_3 \max(0, W_2 \max(0, W_1 x + b_1) + b_2) + b_3

    Each curve is a template that is padded, stretched, shifted, sheared and covered with noise. 4,000 examples to train
    with and 1,000 to test with, float32, with mean 0 and variance 1 over all of them. The formula is that of
    ``architecture=mlp``; ``cnn`` has three convolutions along the curve, each with ReLU, and a linear layer. The loss
    is the cross-entropy. Both networks learn the training set by heart in a long run, so the decay of the learning rate
    decides what they know of the test set.

    Example:
      >>> from lrtrain import DataContext
      >>> from lrtrain_mnist1d import MNIST1D
      >>> data = MNIST1D().data(DataContext())
      >>> data.train.inputs.shape, data.test.inputs.shape
      ((4000, 40), (1000, 40))

    Reference: S. Greydanus, D. Kobak, Scaling Down Deep Learning with MNIST-1D, arXiv 2011.14439.
    """

    defaults: ClassVar[Defaults] = Defaults(
        epochs=50, batch_size=100, optimizer="adamw(weight_decay=0.05)", loss_reduction="mean", learning_rate=0.002
    )

    architecture: Annotated[Literal["mlp", "cnn"], Doc("a perceptron or a convolutional network")] = "mlp"
    width: Annotated[
        PositiveInt | None, Doc("neurons in each hidden layer (none: 100), or channels of each convolution (none: 25)")
    ] = None

    def data(self, context: DataContext) -> Dataset:
        """Returns curves ``float32[N, 40]`` and labels ``int32[N]``."""
        if self.train is not None:
            return super().data(context)
        from lrtrain_mnist1d.reader import read_curves

        return read_curves()

    def network(self, data: Dataset) -> MLP | CNN | Any:
        """Returns the network that ``architecture`` names, or the model that was given."""
        if self.model is not None:
            return self.model
        from lrtrain_mnist1d.network import CNN, MLP

        classes = data.num_classes or 1 + int(data.train.targets.max())
        if self.architecture == "cnn":
            return CNN(self.width or 25, classes)
        return MLP(self.width or 100, classes)
