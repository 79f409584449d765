"""Checkpoints of a run; the only file that imports Orbax.

A checkpoint holds the arrays (parameters, optimizer state, step, the table of learning rates) and a JSON item with the
position and the fingerprint of the table: all that a run needs to continue to the same bits. One
that is damaged is passed over, and renamed when the run has gone on from an older one.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtrain.engine.processes import ALONE, Processes
from lrtrain.errors import LrtrainError, RunDirError, cause
from lrtrain.files import digest
from lrtrain.runs.directory import numbered
from lrtrain.schedules.table import fingerprint
from lrtrain.signals import interrupts_held_back
from lrtrain.training.checkpoint_contents import check_same_arrays, has_valid_metrics
from lrtrain.training.checkpoint_errors import failures_named, late_errors_dropped, refusals_to_read_named
from lrtrain.training.position import Position

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from orbax.checkpoint import CheckpointManager

    from lrtrain.engine.engine import TrainState

VERSION = 2
KEEP_LATEST = 3


def import_orbax() -> None:
    """Imports Orbax before the first checkpoint, since it takes about ten times as long as a checkpoint."""
    importlib.import_module("orbax.checkpoint")


@dataclass(frozen=True, eq=False)
class Restored:
    """A checkpoint that has been read.

    Args:
      position: the position of the run.
      table: the learning rates of the run, float32[total_steps].
      state: the training state.
      damaged: newer checkpoints that could not be read, each with the reason.
    """

    position: Position
    table: NDArray[np.float32]
    state: TrainState
    damaged: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Taken:
    """The contents of a checkpoint that is not yet written, on the host."""

    state: TrainState
    table: NDArray[np.float32]
    position: Position
    first: Callable[[], object]


class Checkpoints:
    """The checkpoints of one run: the last three and the one with the best test accuracy are kept.

    `save` takes a copy, and `write` begins to write it: between the two the devices can be given their next steps. A
    failure to write is raised by the next call or by `wait`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._manager: CheckpointManager | None = None
        self._taken: _Taken | None = None

    def save(
        self,
        state: TrainState,
        table: NDArray[np.float32],
        position: Position,
        *,
        first: Callable[[], object] = lambda: None,
    ) -> None:
        """Takes a copy of the contents of a checkpoint; `write` writes it, unless there is one of ``position.step``.

        Args:
          state: the training state, on the devices; it may be donated as soon as this returns.
          table: learning rates of the whole run, float32[total_steps].
          position: the position of the run.
          first: called before the checkpoint is written; if it raises, nothing is written.

        Raises:
          TrainingError: an earlier checkpoint could not be written.
        """
        import jax
        import numpy as np

        self.write()
        # On the host, because a copy on the devices compiles a program for every shape, and so do the slices that Orbax
        # takes of an array on several devices.
        self._taken = _Taken(jax.tree.map(np.array, state), table, position, first)

    def write(self) -> None:
        """Begins to write the last copy, unless it is written already; the writing continues in the background.

        `wait` and `close` call it too.

        Raises:
          TrainingError: an earlier checkpoint could not be written.
        """
        taken, self._taken = self._taken, None
        if taken is not None:
            self._write(taken)

    def _write(self, taken: _Taken) -> None:
        import jax
        import orbax.checkpoint as ocp

        taken.first()
        position, table = taken.position, taken.table
        if position.step in self._open().all_steps():
            return
        values = {**position.to_json(), "fingerprint": fingerprint(table), "version": VERSION}
        checksum = digest(values, [*jax.tree.leaves(taken.state), table])
        accuracy = position.history[-1].test_accuracy if position.history and not position.epoch_losses else 0.0
        # After an interrupt, Orbax would continue in a thread that it no longer waits for, and fail there when closed.
        with failures_named(self._directory), interrupts_held_back():
            self._open().save(
                position.step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(taken.state),
                    learning_rates=ocp.args.ArraySave(table),
                    progress=ocp.args.JsonSave({**values, "sha256": checksum}),
                ),
                metrics={"test_accuracy": accuracy},
            )

    def has_any(self) -> bool:
        """Returns whether there is a checkpoint, valid or damaged."""
        return bool(self._paths())

    def restore_newest(self, like: TrainState) -> Restored:
        """Returns the newest checkpoint that is valid.

        Args:
          like: a state of the same structure and placement.

        Raises:
          RunDirError: there is none, it was written by a later version, or its arrays are not like those of ``like``.
          TrainingError: the system refuses to read it at the moment, so it may be valid or damaged.
        """
        damaged: list[str] = []
        with late_errors_dropped() as rest:
            for step, path in sorted(self._paths().items(), reverse=True):
                try:
                    with refusals_to_read_named(path):
                        position, table, state = self._restore(step, path, like)
                except LrtrainError:
                    raise
                except Exception as error:  # noqa: BLE001  # what Orbax and its libraries raise for damage
                    damaged.append(f"{path.name} ({cause(error)[:200]})")
                else:
                    return Restored(position, table, state, tuple(damaged))
                rest()
        if not damaged:
            raise RunDirError(f"{self._directory.parent} has no checkpoint to resume from: start a new run instead")
        raise RunDirError(
            f"{self._directory.parent} has no valid checkpoint: {', '.join(damaged)}: start a new run instead"
        )

    def _restore(self, step: int, path: Path, like: TrainState) -> tuple[Position, NDArray[np.float32], TrainState]:
        import orbax.checkpoint as ocp

        position, table, stored = self._restore_position(step)
        with ocp.StandardCheckpointer() as checkpointer:
            check_same_arrays(path.name, checkpointer.metadata(path / "state").item_metadata.tree, like)
        state = self.restore_state(step, like)
        _check(stored, state, table)
        return position, table, state

    def set_aside_after(self, step: int, processes: Processes = ALONE) -> None:
        """Renames the checkpoints of later steps, which are damaged: these steps will have new ones."""
        self.close()
        with processes.together():
            for later, path in self._paths().items() if processes.is_main else ():
                if later > step:
                    _set_aside(path)

    def restore_position(self) -> tuple[Position, NDArray[np.float32]]:
        """Returns the position of the newest checkpoint and its learning rates, float32[total_steps].

        Raises:
          RunDirError: there is no checkpoint.
          TrainingError: the system refuses to read it at the moment.
        """
        paths = self._paths()
        if not paths:
            raise RunDirError(f"{self._directory.parent} has no checkpoint to resume from: start a new run instead")
        step = max(paths)
        with refusals_to_read_named(paths[step]):
            return self._restore_position(step)[:2]

    def _restore_position(self, step: int) -> tuple[Position, NDArray[np.float32], dict[str, Any]]:
        import numpy as np
        import orbax.checkpoint as ocp

        wanted = ocp.args.Composite(
            learning_rates=ocp.args.ArrayRestore(restore_args=ocp.RestoreArgs(restore_type=np.ndarray)),
            progress=ocp.args.JsonRestore(),
        )
        restored = self._open().restore(step, args=wanted)
        stored: dict[str, Any] = restored["progress"]
        if stored["version"] > VERSION:
            raise RunDirError(
                f"the checkpoint of step {step} is of version {stored['version']}, and this lrtrain reads up to "
                f"{VERSION}: it was written by a later lrtrain, so update this one"
            )
        return Position.from_json(stored), np.asarray(restored["learning_rates"]), stored

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
        self.write()
        if self._manager is not None:
            with failures_named(self._directory):
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits until all checkpoints are on disk, and ends the threads of Orbax."""
        try:
            self.write()
        finally:
            if self._manager is not None:
                with failures_named(self._directory):
                    self._manager.close()
                self._manager = None

    def _paths(self) -> dict[int, Path]:
        # Orbax gives a checkpoint this name when it is complete; before that, the name has a suffix. `glob` would find
        # nothing, and raise nothing, in a directory that may not be read.
        with refusals_to_read_named(self._directory):
            found = self._directory.iterdir() if self._directory.is_dir() else ()
            names = {path: path.name.removeprefix("step_") for path in found if path.name.startswith("step_")}
            return {int(name): path for path, name in names.items() if name.isdecimal() and path.is_dir()}

    def _open(self) -> CheckpointManager:
        if self._manager is None:
            for path in self._paths().values():
                with refusals_to_read_named(path):
                    valid = has_valid_metrics(path)
                if not valid:
                    # Orbax reads the metrics of all checkpoints at its start, and raises.
                    _set_aside(path)
            self._manager = _manager(self._directory)
        return self._manager


def _manager(directory: Path) -> CheckpointManager:
    import orbax.checkpoint as ocp
    from orbax.checkpoint.checkpoint_managers import preservation_policy as policy

    # Orbax logs its progress through absl, on every save, and the traceback of what it then raises.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    best = policy.BestN(get_metric_fn=lambda metrics: float(metrics["test_accuracy"]), n=1)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policy.AnyPreservationPolicy([policy.LatestN(KEEP_LATEST), best]),
        step_prefix="step",
        # Without it Orbax does not store the metrics, and a resumed run would not keep its best checkpoint so far.
        best_fn=lambda metrics: float(metrics["test_accuracy"]),
    )
    return ocp.CheckpointManager(directory, options=options)


def _check(stored: Mapping[str, Any], state: TrainState, table: NDArray[np.float32]) -> None:
    """Raises ValueError when a checkpoint does not hold what was saved; version 1 has no checksum."""
    import jax
    import numpy as np

    values = {name: value for name, value in stored.items() if name != "sha256"}
    if stored["version"] > 1 and digest(values, [*map(np.asarray, jax.tree.leaves(state)), table]) != stored["sha256"]:
        raise ValueError("its checksum does not fit its contents")


def _set_aside(path: Path) -> None:
    """Renames a checkpoint, so that neither Orbax nor lrtrain reads it; nothing is removed."""
    names = numbered(path.with_name(f"damaged_{path.name}"))
    path.rename(next(each for each in names if not each.exists()))
