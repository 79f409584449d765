"""The rule when a run saves a checkpoint: after a number of steps, a time, or a number of epochs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lrtrain.errors import UsageError

_PATTERN = re.compile(r"(\d{1,9})(s|min|h|ep)?", re.ASCII)
SHORT_EPOCH = 5.0
_SECONDS = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True)
class CheckpointRule:
    """When checkpoints are due, apart from the one at the end of a run.

    It is after each multiple of ``steps`` updates, counted from the beginning of the run; when ``seconds`` have passed
    since the last one; after each multiple of ``epochs``, which is 1 where one of the others is given. Those after
    epochs of less than `SHORT_EPOCH` seconds are written ``apart`` seconds from each other or more, by one process: the
    last and the best of those between are held back.
    """

    text: str
    steps: int | None = None
    seconds: int | None = None
    epochs: int = 1
    apart: int = 0

    @classmethod
    def parse(cls, text: object) -> CheckpointRule:
        """Returns the rule for ``200``, ``30s``, ``5min``, ``1h``, ``2ep`` or ``auto``; raises UsageError for others.

        Example:
          >>> CheckpointRule.parse("5min").seconds
          300
        """
        if str(text).strip() == AUTO.text:
            return AUTO
        match = _PATTERN.fullmatch(str(text).strip()) if not isinstance(text, bool) else None
        amount = int(match[1]) if match else 0
        if match is None or amount == 0:
            raise UsageError(
                f"checkpoint_every={text} is refused: expected a number of steps (200), a time (30s, 5min, 1h) "
                "or epochs (1ep), at least 1, or auto"
            )
        if match[2] is None:
            return cls(match[0], steps=amount)
        return cls(match[0], epochs=amount) if match[2] == "ep" else cls(match[0], seconds=amount * _SECONDS[match[2]])

    def after_epoch(self, epoch: int) -> bool:
        """Returns whether a checkpoint is due at the end of an epoch, counted from 0."""
        return (epoch + 1) % self.epochs == 0

    def holds_back(self, epoch: float, since: float) -> bool:
        """Returns whether the checkpoint of an epoch waits: how many seconds that took, and how long ago the last was.

        Where an epoch takes seconds, a checkpoint is less than a hundredth of it.
        """
        return epoch < SHORT_EPOCH and since < self.apart

    def next_step(self, step: int, end: int) -> int:
        """Returns the first step after ``step`` at which a checkpoint is due, at most ``end``."""
        return end if self.steps is None else min(end, (step // self.steps + 1) * self.steps)


AUTO = CheckpointRule("auto", apart=30)
