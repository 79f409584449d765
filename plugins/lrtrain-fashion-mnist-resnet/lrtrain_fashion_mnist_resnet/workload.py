"""Fashion-MNIST with a small residual network, as a workload of lrtrain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_types import Ge

from lrtrain import Classification, DataContext, Dataset, Defaults, Doc, PositiveInt, load_dataset

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True, kw_only=True)
class FashionMnistResnet(Classification):
    """Fashion-MNIST, by a small residual network with batch normalization; the headline is the accuracy.

    In training each image is moved by up to ``shift`` pixels along both axes, with zeros where nothing comes in, and
    mirrored half of the time. Batch normalization uses the statistics of what each device has of a batch.

    Example:
      >>> from lrtrain import DataContext
      >>> from lrtrain_fashion_mnist_resnet import FashionMnistResnet
      >>> data = FashionMnistResnet(width=16).data(DataContext())
      >>> data.train.inputs.shape, data.test.inputs.shape
      ((60000, 28, 28, 1), (10000, 28, 28, 1))

    References: He et al., arXiv 1512.03385 (residual networks); Ioffe and Szegedy, arXiv 1502.03167 (batch
    normalization).
    """

    defaults: ClassVar[Defaults] = Defaults(
        epochs=10,
        batch_size=128,
        optimizer="sgd(momentum=0.9, nesterov=true)",
        loss_reduction="mean",
        learning_rate=0.1,
        weight_decay=5e-4,
    )

    width: Annotated[PositiveInt, Doc("channels of the first of three stages; each later one has twice as many")] = 32
    blocks: Annotated[PositiveInt, Doc("residual blocks in each of the three stages")] = 1
    shift: Annotated[int, Ge(0), Doc("pixels by which an image is moved at most, in training")] = 1
    flip: Annotated[bool, Doc("whether images are mirrored, in training")] = True

    def data(self, context: DataContext) -> Dataset:
        """Returns the 60,000 training and 10,000 test images, ``uint8[N, 28, 28, 1]``."""
        if self.train is not None:
            return super().data(context)
        return load_dataset("fashion_mnist", data_dir=context.data_dir)

    def network(self, data: Dataset) -> Any:
        """Returns the residual network."""
        if self.model is not None:
            return self.model
        from lrtrain_fashion_mnist_resnet.network import ResNet

        return ResNet(data.num_classes or 1 + int(data.train.targets.max()), self.width, self.blocks)

    def augment(self, raw: Any, key: jax.Array) -> Any:
        """Moves and mirrors one image ``[H, W, C]``, by one product from each side; its values stay what they were."""
        from lrtrain_fashion_mnist_resnet.augmentation import moved

        return moved(raw, key, self.shift, self.flip)
