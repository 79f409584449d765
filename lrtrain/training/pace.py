"""How much is sent to the devices at once: as much as they can do before someone who wants to stop gets impatient."""

from __future__ import annotations

import time
from collections.abc import Iterator

from lrtrain.training.checkpoint_rule import CheckpointRule

# Two pieces are on the devices when a signal comes, and a checkpoint follows them.
PIECE_SECONDS = 0.75


class Pace:
    """Cuts chunks into pieces that take a moment, and at the steps where a checkpoint is due.

    A piece is what a signal waits for. It changes no result, so it may follow a clock; a chunk, at whose bounds the
    requests of hooks act, may not.
    """

    def __init__(self, chunk: int, rule: CheckpointRule, *, measured: bool) -> None:
        """Begins with single steps, because nothing is known of how long they take.

        Args:
          chunk: steps in a chunk.
          rule: when checkpoints are due.
          measured: whether pieces follow the clock; else a piece is a chunk.
        """
        self._chunk = chunk
        self._rule = rule
        self._measured = measured
        self._piece = 1 if measured else chunk
        self._saved_at = time.monotonic()

    def pieces(self, step: int, end: int) -> Iterator[tuple[int, int]]:
        """Yields the pieces of the steps from ``step`` to ``end``, each cut as the clock says by then."""
        while step < end:
            until = self._rule.next_step(step, min(step + self._piece, end))
            yield step, until
            step = until

    def took(self, steps: int, seconds: float) -> None:
        """Takes note of how long some steps have taken."""
        if self._measured:
            pieces = max(1, -int(-self._chunk * seconds / steps // PIECE_SECONDS))
            self._piece = -(-self._chunk // min(pieces, self._chunk))

    @property
    def timed(self) -> bool:
        """Whether checkpoints follow the clock."""
        return self._rule.seconds is not None

    def is_time(self) -> bool:
        """Returns whether the time between two checkpoints is over."""
        return self._rule.seconds is not None and time.monotonic() - self._saved_at >= self._rule.seconds

    def is_step(self, step: int) -> bool:
        """Returns whether a checkpoint is due after ``step`` updates."""
        return self._rule.steps is not None and step % self._rule.steps == 0

    def saved(self) -> None:
        """Takes note that a checkpoint has just been saved."""
        self._saved_at = time.monotonic()
