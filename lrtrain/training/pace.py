"""The size of a portion: as many steps as the devices can do before a user who wants to stop gets impatient."""

from __future__ import annotations

import time
from collections.abc import Iterator

from lrtrain.training.checkpoint_rule import CheckpointRule

# Two portions are on the devices when a signal comes, and a checkpoint follows them.
PORTION_SECONDS = 0.75


class Pace:
    """Cuts chunks into portions that take less than `PORTION_SECONDS`, and at the steps where a checkpoint is due.

    A signal waits for the portions on the devices. Their size changes no result, so it may follow the clock; the size
    of a chunk may not, because the requests of hooks are applied between chunks.
    """

    def __init__(self, chunk: int, rule: CheckpointRule, *, measured: bool) -> None:
        """Begins with portions of one step, because it is not yet known how long a step takes.

        Args:
          chunk: steps in a chunk.
          rule: when checkpoints are due.
          measured: whether the size of a portion follows the clock; else a portion is a chunk.
        """
        self._chunk = chunk
        self._rule = rule
        self._measured = measured
        self._portion = 1 if measured else chunk
        self._saved_at = time.monotonic()

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
        """Notes that a checkpoint has just been saved."""
        self._saved_at = time.monotonic()
