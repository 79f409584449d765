"""Images of classes from a data set of tensorflow-datasets, and the default workload among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lrtrain.data.load import DatasetSource, find_dataset
from lrtrain.data.types import Dataset
from lrtrain.workloads.kinds import Classification
from lrtrain.workloads.workload import DataContext

if TYPE_CHECKING:
    from lrtrain.nn.model import CNN


@dataclass(frozen=True, kw_only=True)
class ImageClassification(Classification):
    """Images of classes, from a data set that a package provides or that tensorflow-datasets has prepared."""

    takes_dataset: ClassVar[bool] = True
    # As it was before there were other workloads, so that a run made then goes on to the same bits.
    micro_batch: ClassVar[int | None] = 8
    dataset: ClassVar[str] = "fashion_mnist"
    """The data set that is taken where the user names none."""

    def source(self, context: DataContext) -> DatasetSource:
        """Finds the data set, to be loaded or streamed."""
        return find_dataset(context.dataset or self.dataset, data_dir=context.data_dir)

    def data(self, context: DataContext) -> Dataset:
        """Loads the data set."""
        return self.source(context).load()


@dataclass(frozen=True, kw_only=True)
class FashionMnistCnn(ImageClassification):
    """The default: Fashion-MNIST and the tutorial's network of two convolutions, trained by SGD on the summed loss."""

    def network(self, data: Dataset) -> CNN | Any:
        """Returns the tutorial's network, or the model that was given."""
        from lrtrain.nn.model import CNN

        return self.model or CNN(data.num_classes or 0)
