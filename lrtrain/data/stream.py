"""Training examples that are read while the devices compute: the decoded training set is never held."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lrtrain.data.types import Dataset
from lrtrain.errors import DataError, TrainingError
from lrtrain.extras import check_extra
from lrtrain.host import usable_cores

if TYPE_CHECKING:
    from collections.abc import Generator

    from lrtrain.data.examples import Examples


def grain() -> Any:
    """Imports Grain, which takes a second and only streaming needs; raises UsageError when it is not installed."""
    otherwise = ", or keep it on the devices with --data-on-device always"
    check_extra("stream", "a training set that is streamed", otherwise)
    return importlib.import_module("grain")


@dataclass(frozen=True, eq=False)
class Stream:
    """The training examples, on the disk.

    Args:
      examples: reads those of the whole split.
      image_shape: ``(height, width, channels)``, equal for all.
      kept: which examples of the split there are to train on, in file order; None for all.
    """

    examples: Examples
    image_shape: tuple[int, ...]
    kept: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return len(self.examples) if self.kept is None else len(self.kept)

    def batch(self, order: NDArray[np.int32]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """Reads images uint8[batch, height, width, channels] and labels int32[batch], those of ``order`` int32[batch].

        Raises DataError when they cannot be read, or do not have the size or the classes that the data set should have.
        """
        return self.examples.arrays((order if self.kept is None else self.kept[order]).tolist(), self.image_shape)

    def chunks(
        self, order: NDArray[np.int32], steps: int
    ) -> Generator[tuple[NDArray[np.uint8], NDArray[np.int32]], None, None]:
        """Reads the batches of an epoch in order, a chunk ahead of what has been taken; closing it ends the reading.

        The order is as `lrtrain.engine.order.epoch_order` has it. Those that fill up the last batch are read too: batch
        normalisation sees them. A chunk has ``steps`` batches, the last one perhaps fewer: images
        uint8[steps, batch, height, width, channels] and labels int32[steps, batch]. Raises UsageError when Grain is not
        installed, and TrainingError when the data is damaged.
        """
        library = grain()
        # It may ask for several batches at once, each in a thread of its own.
        batches = library.MapDataset.range(len(order)).map(lambda index: self.batch(order[index]))
        ahead = library.ReadOptions(num_threads=usable_cores(), prefetch_buffer_size=steps)
        with contextlib.closing(iter(batches.to_iter_dataset(ahead).batch(steps))) as chunks:
            try:
                yield from chunks
            except DataError as error:
                raise TrainingError(f"{error}; what the run has done so far is kept") from error


StreamedDataset: TypeAlias = Dataset[Stream]
"""A data set whose training examples stay on the disk."""
