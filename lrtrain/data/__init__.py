"""Data sets: a name or a path in, arrays out; nothing is downloaded, and TensorFlow is not needed."""

from lrtrain.data.load import find_dataset, load_dataset
from lrtrain.data.source import DatasetSource, subset
from lrtrain.data.types import Dataset, Split

__all__ = ["Dataset", "DatasetSource", "Split", "find_dataset", "load_dataset", "subset"]
