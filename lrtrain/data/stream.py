"""Training examples that stay on the disk, decoded, and are read while the devices compute."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lrtrain.data.npy import MappedArray
from lrtrain.data.types import Dataset
from lrtrain.errors import TrainingError, cause

if TYPE_CHECKING:
    from collections.abc import Generator

# They wait for the disk, which is fastest when many ask at once, and hold no lock of Python while they do.
_READERS = 16


@dataclass(frozen=True, eq=False)
class Stream:
    """The training examples, in two files that `lrtrain.data.arrays` has written.

    Args:
      inputs: images ``uint8[N, height, width, channels]``.
      targets: labels ``int32[N]``.
      kept: which of them there are to train on, in file order; None for all.
    """

    inputs: MappedArray
    targets: MappedArray
    kept: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return len(self.targets.items if self.kept is None else self.kept)

    def chunks(self, order: NDArray[np.int32], steps: int) -> Generator[tuple[NDArray[Any], NDArray[Any]], None, None]:
        """Reads the batches of an epoch in order, a chunk ahead of what has been taken; closing it ends the reading.

        The order is as `lrtrain.engine.order.epoch_order` has it. Those that fill up the last batch are read too: batch
        normalisation sees them. A chunk has ``steps`` batches, the last one perhaps fewer: images
        uint8[steps, batch, height, width, channels] and labels int32[steps, batch]. Raises TrainingError when a file
        has been cut short.
        """
        pool = ThreadPoolExecutor(_READERS, "lrtrain-reader")
        try:
            ahead: _Chunk | None = None
            for begin in range(0, len(order), steps):
                current, ahead = ahead, _Chunk(self, pool, order[begin : begin + steps])
                if current is not None:
                    yield current.done()
            if ahead is not None:
                yield ahead.done()
        finally:
            pool.shutdown(cancel_futures=True)

    def read(self, order: NDArray[np.int32], inputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Reads the examples of a batch, those of ``order`` int32[batch], into two arrays."""
        indices = order if self.kept is None else self.kept[order]
        self.inputs.take(indices, inputs)
        self.targets.take(indices, targets)


class _Chunk:
    """Some batches that are being read, each by a thread of its own."""

    def __init__(self, stream: Stream, pool: ThreadPoolExecutor, order: NDArray[np.int32]) -> None:
        self._directory = stream.inputs.path.parent
        self._inputs, self._targets = (
            np.empty((*order.shape, *items.shape[1:]), items.dtype)
            for items in (stream.inputs.items, stream.targets.items)
        )
        self._batches: list[Future[None]] = [
            pool.submit(stream.read, *batch) for batch in zip(order, self._inputs, self._targets, strict=True)
        ]

    def done(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Waits until all is read; returns inputs and targets."""
        try:
            for batch in self._batches:
                batch.result()
        except (EOFError, OSError) as error:
            raise TrainingError(
                f"the decoded data in {self._directory} is damaged ({cause(error)}): the next run decodes it again; "
                "what the run has done so far is kept"
            ) from error
        return self._inputs, self._targets


StreamedDataset: TypeAlias = Dataset[Stream]
"""A data set whose training examples stay on the disk."""
