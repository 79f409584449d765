"""Data sets: a name in, arrays out, all of it through tensorflow-datasets without TensorFlow and without a network."""

from lrtrain.data.load import DatasetSource, find_dataset, load_dataset, subset
from lrtrain.data.types import Dataset, Split

__all__ = ["Dataset", "DatasetSource", "Split", "find_dataset", "load_dataset", "subset"]
