"""The orders of a run's epochs, each made while the epoch before it is trained."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

from lrtrain.engine.order import epoch_order
from lrtrain.runs.train_config import TrainConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Order: TypeAlias = "tuple[NDArray[np.int32], NDArray[np.float32]]"


class Orders:
    """Makes the order of the next epoch in a thread of its own; used as a context manager.

    It takes milliseconds, in which a device would have no steps. An order is a function of seed and epoch, so nothing
    depends on when it is made.
    """

    def __init__(self, config: TrainConfig, examples: int) -> None:
        self._config, self._examples = config, examples
        self._next: tuple[int, Future[Order]] | None = None
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self) -> Orders:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def of(self, epoch: int) -> Order:
        """Returns the order and the weights of an epoch, as `epoch_order` does, and begins with the next epoch's."""
        made = self._next[1].result() if self._next and self._next[0] == epoch else self._make(epoch)
        if epoch + 1 < self._config.epochs:
            self._next = epoch + 1, self._pool.submit(self._make, epoch + 1)
        return made

    def _make(self, epoch: int) -> Order:
        config = self._config
        return epoch_order(config.seed, epoch, self._examples, config.batch_size, shuffle=config.shuffle)
