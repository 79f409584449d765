"""The steps of an epoch in chunks, and chunks in portions: few enough steps that a user who wants to stop waits little.

The size of a chunk is fixed, because the requests of hooks are applied between chunks; that of a portion changes no
result, so it may follow the clock.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from lrtrain.training.checkpoint_rule import CheckpointRule
from lrtrain.training.prepare import Loaded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lrtrain.engine.engine import Examples

# Two portions are on the devices when a signal comes, and a checkpoint follows them.
PORTION_SECONDS = 0.75


def chunks(
    loaded: Loaded, order: NDArray[np.int32], weights: NDArray[np.float32], done: int = 0
) -> Generator[tuple[Examples, NDArray[np.float32]], None, None]:
    """Yields the examples of each chunk, in the form that the engine takes, and their weights.

    Order and weights are those of an epoch, of which the steps ``done`` are left out; if these end within a chunk, its
    other steps come first. Closing the generator ends the reading of a stream.
    """
    size, stream = loaded.engine.chunk_steps, loaded.stream
    bounds = sorted({done, *range(done + size - done % size, len(order), size), len(order)})
    slices = [slice(*pair) for pair in itertools.pairwise(bounds)]
    if stream is None:
        yield from ((order[chunk], weights[chunk]) for chunk in slices)
        return
    alone = 1 if done % size else 0
    # A stream takes the rest of a chunk by itself, since it cuts what it is given into chunks from its beginning.
    for adjacent in (slices[:alone], slices[alone:]):
        if adjacent:
            whole = slice(adjacent[0].start, adjacent[-1].stop)
            with contextlib.closing(stream.chunks(order[whole], size)) as streamed:
                for chunk, examples in zip(adjacent, streamed, strict=True):
                    yield examples, weights[chunk]


def portion_of(examples: Examples, portion: slice) -> Examples:
    """Returns the examples of some steps of a chunk."""
    return (examples[0][portion], examples[1][portion]) if isinstance(examples, tuple) else examples[portion]


class Pace:
    """Cuts chunks into portions that take less than `PORTION_SECONDS`, and at the steps where a checkpoint is due."""

    def __init__(self, chunk: int, rule: CheckpointRule, *, measured: bool) -> None:
        """Begins with portions of one step if they are ``measured``; if not, each is a chunk of ``chunk`` steps."""
        self._chunk = chunk
        self._rule = rule
        self._measured = measured
        self._portion = 1 if measured else chunk

    def portions(self, step: int, end: int) -> Iterator[tuple[int, int]]:
        """Yields the bounds of the portions from ``step`` to ``end``, each cut by what has been measured by then."""
        while step < end:
            until = self._rule.next_step(step, min(step + self._portion, end))
            yield step, until
            step = until

    def took(self, steps: int, seconds: float) -> None:
        """Notes how long some steps have taken."""
        if self._measured:
            portions = max(1, -int(-self._chunk * seconds / steps // PORTION_SECONDS))
            self._portion = -(-self._chunk // min(portions, self._chunk))
