"""Checkpoints of a run; the only file that imports Orbax.

A checkpoint holds the arrays (parameters, optimizer state, step, the table of learning rates) and a JSON item with all
else that a run needs to continue to the same bits: scale, seed, fingerprint of the schedule, the epochs so far.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtrain.context import EpochInfo
from lrtrain.errors import RunDirError, TrainingError
from lrtrain.interrupts import interrupts_held_back
from lrtrain.schedules import fingerprint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from orbax.checkpoint import CheckpointManager

    from lrtrain.engine import TrainState

VERSION = 1
KEEP_LATEST = 3


@dataclass(frozen=True, eq=False)
class Progress:
    """How far a run has come, apart from the arrays that it trains.

    Args:
      step: updates done.
      scale: the factor that hooks have put on the learning rate.
      seed: the run's seed.
      history: the epochs done.
      epoch_losses: the losses of the updates done in an epoch that has not ended.
      stopped: why a hook ended the run, if one did.
    """

    step: int
    scale: float
    seed: int
    history: tuple[EpochInfo, ...] = ()
    epoch_losses: tuple[float, ...] = ()
    stopped: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as JSON holds them."""
        return {**vars(self), "history": [vars(epoch) for epoch in self.history]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Progress:
        """Returns what `to_json` wrote."""
        fields = {name: value for name, value in values.items() if name not in ("version", "fingerprint")}
        history = tuple(EpochInfo(**epoch) for epoch in fields.pop("history"))
        return cls(**{**fields, "epoch_losses": tuple(fields["epoch_losses"])}, history=history)


def import_orbax() -> None:
    """Imports Orbax, so that the first checkpoint need not: it takes some ten times as long as a checkpoint."""
    importlib.import_module("orbax.checkpoint")


class Checkpoints:
    """The checkpoints of one run: the last three and the one with the best test accuracy are kept.

    Saving returns as soon as the arrays are copied; a write that fails shows at the next save or at `wait`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._manager: CheckpointManager | None = None

    def save(self, state: TrainState, table: NDArray[np.float32], progress: Progress) -> None:
        """Saves a checkpoint of ``progress.step``, unless there is one.

        Args:
          state: the training state, on the devices; it may be used up as soon as this returns.
          table: learning rates of the whole run, float32[total_steps].
          progress: all else.

        Raises:
          TrainingError: an earlier checkpoint could not be written.
        """
        import jax
        import numpy as np
        import orbax.checkpoint as ocp

        if progress.step in self._open().all_steps():
            return
        # The next step takes over the state's memory while the checkpoint is still being written. On the host, because
        # copying on the devices, and Orbax's slices of what several of them hold, compile a program for every shape.
        copied = jax.tree.map(np.array, state)
        accuracy = progress.history[-1].test_accuracy if progress.history and not progress.epoch_losses else 0.0
        # Torn by an interrupt, Orbax goes on in a thread that it has forgotten, and fails there when it is closed.
        with _failures_named(self._directory), interrupts_held_back():
            self._open().save(
                progress.step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(copied),
                    learning_rates=ocp.args.ArraySave(table),
                    progress=ocp.args.JsonSave(
                        {**progress.to_json(), "fingerprint": fingerprint(table), "version": VERSION}
                    ),
                ),
                metrics={"test_accuracy": accuracy},
            )

    def restore_progress(self) -> tuple[Progress, NDArray[np.float32]]:
        """Returns the progress of the newest checkpoint and its learning rates, float32[total_steps].

        Raises:
          RunDirError: there is no checkpoint.
        """
        import numpy as np
        import orbax.checkpoint as ocp

        step = self.latest()
        if step is None:
            raise RunDirError(f"{self._directory.parent} has no checkpoint to resume from: start a new run instead")
        wanted = ocp.args.Composite(
            learning_rates=ocp.args.ArrayRestore(restore_args=ocp.RestoreArgs(restore_type=np.ndarray)),
            progress=ocp.args.JsonRestore(),
        )
        restored = self._open().restore(step, args=wanted)
        return Progress.from_json(restored["progress"]), np.asarray(restored["learning_rates"])

    def restore_state(self, step: int, like: TrainState) -> TrainState:
        """Returns the training state of a checkpoint, of the same structure and placement as ``like``."""
        import jax
        import orbax.checkpoint as ocp

        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        restored = self._open().restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract)))
        state: TrainState = restored["state"]
        return state

    def latest(self) -> int | None:
        """Returns the step of the newest checkpoint; None when there is none."""
        return self._open().latest_step() if self._directory.is_dir() else None

    def wait(self) -> None:
        """Waits until all checkpoints are on disk; raises TrainingError when one could not be written."""
        if self._manager is not None:
            with _failures_named(self._directory):
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and lets go of Orbax's threads."""
        if self._manager is not None:
            with _failures_named(self._directory):
                self._manager.close()
            self._manager = None

    def _open(self) -> CheckpointManager:
        if self._manager is None:
            self._manager = _manager(self._directory)
        return self._manager


def _manager(directory: Path) -> CheckpointManager:
    import orbax.checkpoint as ocp
    from orbax.checkpoint.checkpoint_managers import preservation_policy as policy

    # Orbax logs its progress through absl, on every save.
    logging.getLogger("absl").setLevel(logging.ERROR)
    best = policy.BestN(get_metric_fn=lambda metrics: float(metrics["test_accuracy"]), n=1)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policy.AnyPreservationPolicy([policy.LatestN(KEEP_LATEST), best]),
        step_prefix="step",
    )
    return ocp.CheckpointManager(directory, options=options)


@contextlib.contextmanager
def _failures_named(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(f"a checkpoint could not be written to {directory}: {error}") from error
