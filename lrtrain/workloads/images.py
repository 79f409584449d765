"""Images of classes from a data set of tensorflow-datasets, and the default workload among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lrtrain.data.load import find_dataset
from lrtrain.data.source import DatasetSource
from lrtrain.data.types import Dataset, shape_of
from lrtrain.errors import ModelError
from lrtrain.workloads.kinds import Classification
from lrtrain.workloads.workload import DataContext

if TYPE_CHECKING:
    from lrtrain.nn.model import CNN


@dataclass(frozen=True, kw_only=True)
class ImageClassification(Classification):
    """Images of classes, from a data set that a package provides or that tensorflow-datasets has prepared."""

    takes_dataset: ClassVar[bool] = True
    dataset: ClassVar[str | None] = "fashion_mnist"

    def source(self, context: DataContext) -> Dataset | DatasetSource:
        """Finds the data set, to be loaded or streamed; examples that were given in Python take its place."""
        if self.train is not None:
            return super().data(context)
        return find_dataset(context.dataset or self.dataset or "", data_dir=context.data_dir)

    def data(self, context: DataContext) -> Dataset:
        """Loads the data set."""
        source = self.source(context)
        return source if isinstance(source, Dataset) else source.load()


@dataclass(frozen=True, kw_only=True)
class FashionMnistCnn(ImageClassification):
    """The default: Fashion-MNIST and the tutorial's network of two convolutions, trained by SGD on the summed loss."""

    def network(self, data: Dataset) -> CNN | Any:
        """Returns the tutorial's network, or the model that was given.

        Raises:
          ModelError: the examples are no images with labels.
        """
        from lrtrain.nn.model import CNN

        if self.model is not None:
            return self.model
        if data.num_classes is None or getattr(data.test.inputs, "ndim", 0) != 4:
            inputs, targets = (shape_of(each, "N") for each in (data.test.inputs, data.test.targets))
            raise ModelError(
                f"the default network takes images [N, height, width, channels] and labels int32[N], and '{data.name}' "
                f"has {inputs} and {targets}: give a network with --model, or another kind of workload with --workload"
            )
        return CNN(data.num_classes)
