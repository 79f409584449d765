"""Some steps with a checkpoint before them, and without; what is timed is an epoch, a save, or the difference."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.competitors import Train, bare_loop
from benchmarks.problem import ALL_EXAMPLES, BATCH, LEARNING_RATE, Problem, Round
from lrtrain.engine.devices import select_devices
from lrtrain.engine.order import epoch_order
from lrtrain.training.checkpoints import Checkpoints, on_host
from lrtrain.training.position import Position

_CHUNKS = 2
_STEPS_PER_EPOCH = -(-ALL_EXAMPLES // BATCH)


def make_epoch(problem: Problem) -> Train:
    """The time of an epoch without a checkpoint, from that of some steps."""
    saving = Saving(problem)

    def train(steps: int) -> Round:
        seconds = [saving.train() for _ in range(steps)]
        return Round(statistics.median(seconds) * _STEPS_PER_EPOCH / saving.steps, [])

    return train


def make_blocked(problem: Problem) -> Train:
    """The time that the training thread spends on a checkpoint: the copy, and what Orbax does before it returns."""
    saving = Saving(problem)

    def train(steps: int) -> Round:
        saving.train()
        blocked = []
        for _ in range(steps):
            start = time.perf_counter()
            saving.save()
            saving.checkpoints.write()
            blocked.append(time.perf_counter() - start)
            saving.checkpoints.wait()
        return Round(statistics.median(blocked), [])

    return train


def make_delay(problem: Problem) -> Train:
    """The delay of some steps by a save before them, which is written while they run."""
    saving = Saving(problem)

    def train(steps: int) -> Round:
        delays = []
        for _ in range(steps):
            without = saving.train()
            start = time.perf_counter()
            saving.save()
            saving.train()
            delays.append(time.perf_counter() - start - without)
            saving.checkpoints.wait()
        return Round(statistics.median(delays), [])

    return train


class Saving:
    """An engine, its state, and a directory of checkpoints."""

    def __init__(self, problem: Problem) -> None:
        self._engine = bare_loop.engine_on(problem, select_devices(None, BATCH))
        self._state = self._engine.init(0)
        chunk = self._engine.chunk_steps
        self.steps = _CHUNKS * chunk
        order, weights = epoch_order(0, 0, len(problem.train.targets), BATCH, shuffle=True)
        self._chunk = order[:chunk], weights[:chunk], np.full(chunk, LEARNING_RATE, np.float32)
        self._table = np.full(10 * _STEPS_PER_EPOCH, LEARNING_RATE, np.float32)
        self.checkpoints = Checkpoints(Path(tempfile.mkdtemp(dir=problem.directory)))
        self._saved = 0

    def train(self) -> float:
        """Trains `steps` steps; returns the seconds."""
        start = time.perf_counter()
        for _ in range(_CHUNKS):
            self._state, losses = self._engine.run_steps(self._state, *self._chunk)
            # As lrtrain does: while the next steps run.
            self.checkpoints.write()
        losses.block_until_ready()
        return time.perf_counter() - start

    def save(self) -> None:
        """Takes the copy for another checkpoint."""
        self._saved += 1
        self.checkpoints.save(on_host(self._state), self._table, Position(self._saved, 1.0, 0))
