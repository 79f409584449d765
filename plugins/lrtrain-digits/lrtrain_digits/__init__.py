"""The handwritten digits of scikit-learn and a small perceptron, as a workload of lrtrain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from lrtrain import Classification, DataContext, Dataset, Defaults, Doc, PositiveInt

if TYPE_CHECKING:
    from lrtrain_digits.network import MLP


@dataclass(frozen=True, kw_only=True)
class Digits(Classification):
    r"""Handwritten digits of 8 by 8 pixels, in ten classes, and a perceptron with two hidden layers.

    .. math::
        z = W_3 \max(0, W_2 \max(0, W_1 x + b_1) + b_2) + b_3

    1,437 examples to train with and 360 to test with, of 64 whole numbers from 0 to 16, divided by 16. The loss is the
    cross-entropy. It is the smallest workload with real data: a run takes a few seconds.

    Example:
      >>> from lrtrain import DataContext
      >>> from lrtrain_digits import Digits
      >>> data = Digits().data(DataContext())
      >>> data.train.inputs.shape, data.test.inputs.shape
      ((1437, 8, 8, 1), (360, 8, 8, 1))

    Reference: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, doi 10.24432/C50P49.
    """

    defaults: ClassVar[Defaults] = Defaults(
        epochs=30, batch_size=32, optimizer="momentum", loss_reduction="mean", learning_rate=0.02
    )

    width: Annotated[PositiveInt, Doc("neurons in each hidden layer")] = 64

    def data(self, context: DataContext) -> Dataset:
        """Returns images ``uint8[N, 8, 8, 1]`` with values from 0 to 16, and labels ``int32[N]``."""
        if self.train is not None:
            return super().data(context)
        from lrtrain_digits.reader import read_digits

        return read_digits()

    def network(self, data: Dataset) -> MLP | Any:
        """Returns a perceptron with two hidden layers, or the model that was given."""
        if self.model is not None:
            return self.model
        from lrtrain_digits.network import MLP

        return MLP(width=self.width, num_classes=data.num_classes or 1 + int(data.train.targets.max()))

    def inputs(self, raw: Any) -> Any:
        """Divides the images by 16, the largest value, and makes vectors of them: ``float32[batch, 64]``."""
        import jax.numpy as jnp

        return raw.reshape(len(raw), -1).astype(jnp.float32) / 16
