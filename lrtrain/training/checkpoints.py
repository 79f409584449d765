"""Checkpoints of a run; the only file that imports Orbax.

A checkpoint holds the arrays (parameters, optimizer state, step, the table of learning rates) and a JSON item with the
position and the fingerprint of the table: all that a run needs to continue to the same bits. One that is damaged is
passed over, and renamed when the run has gone on from an older one.
"""

from __future__ import annotations

import functools
import importlib
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrain.engine.processes import Processes
from lrtrain.errors import LrtrainError, RunDirError, cause
from lrtrain.files import digest
from lrtrain.plugins.context import EpochInfo
from lrtrain.runs.directory import numbered
from lrtrain.schedules.table import fingerprint
from lrtrain.signals import interrupts_held_back
from lrtrain.training.checkpoint_errors import failures_named, late_errors_dropped, refusals_to_read_named
from lrtrain.training.position import Position
from lrtrain.workloads.headline import ACCURACY, Headline

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from orbax.checkpoint import CheckpointManager

    from lrtrain.engine.engine import TrainState

VERSION = 2
KEEP_LATEST = 3
# Higher is better: the accuracy, or another headline with the sign that makes it so.
_SCORE = "test_accuracy"
# As Orbax notes that a part of a path is a place in a sequence.
_IN_SEQUENCE = 1


def import_orbax() -> None:
    """Imports Orbax before the first checkpoint, since it takes about ten times as long as a checkpoint."""
    importlib.import_module("orbax.checkpoint")


@dataclass(frozen=True, eq=False)
class Restored:
    """A checkpoint that has been read; ``damaged`` are the newer ones that could not be, each with the reason."""

    position: Position
    table: NDArray[np.float32]
    state: TrainState
    damaged: tuple[str, ...]


def read_checkpoint(path: Path) -> tuple[Position, dict[str, Any]]:
    """Returns the position and the arrays of a checkpoint, whatever was trained; nothing is changed on disk.

    The arrays are on the host, in nested dictionaries and lists, by the fields of a `TrainState`.

    Raises:
      RunDirError: there is none, it is damaged, or it was written by a later version.
      TrainingError: the system refuses to read it at the moment.
    """
    if not (path / "state").is_dir():
        raise RunDirError(f"{path} is no checkpoint: it has no state")
    _without_log()
    with late_errors_dropped() as rest:
        try:
            with refusals_to_read_named(path):
                return _read(path)
        except LrtrainError:
            raise
        except Exception as error:  # noqa: BLE001  # what Orbax and its libraries raise for damage
            damage = cause(error)[:200]
        rest()
    raise RunDirError(f"the checkpoint {path} is damaged ({damage}): give another one")


def _read(path: Path) -> tuple[Position, dict[str, Any]]:
    import jax
    import orbax.checkpoint as ocp

    stored = json.loads((path / "progress" / "metadata").read_bytes())
    _check_version(path.name, stored)
    on_host = ocp.RestoreArgs(restore_type=np.ndarray)
    with ocp.Checkpointer(ocp.ArrayCheckpointHandler()) as checkpointer:
        table = checkpointer.restore(path / "learning_rates", args=ocp.args.ArrayRestore(restore_args=on_host))
    with ocp.PyTreeCheckpointer() as checkpointer:
        layout = checkpointer.metadata(path / "state").item_metadata.tree
        wanted = jax.tree.map(lambda _: on_host, layout)
        tree = checkpointer.restore(path / "state", args=ocp.args.PyTreeRestore(restore_args=wanted))
    arrays = dict(jax.tree_util.tree_flatten_with_path(tree)[0])
    in_order = [np.asarray(arrays[where]) for where in _as_saved(path / "state")]
    _check_sum(stored, [*in_order, np.asarray(table)])
    return Position.from_json(stored), tree


def _as_saved(path: Path) -> Iterator[tuple[Any, ...]]:
    """Yields the paths of arrays in the order in which they were saved, which Orbax notes in a file of its own."""
    from jax.tree_util import DictKey, SequenceKey

    for noted in json.loads((path / "_METADATA").read_bytes())["tree_metadata"].values():
        if not noted["value_metadata"].get("skip_deserialize"):
            parts = [(part["key"], part["key_type"] == _IN_SEQUENCE) for part in noted["key_metadata"]]
            yield tuple(SequenceKey(int(key)) if in_sequence else DictKey(key) for key, in_sequence in parts)


def _check_sum(stored: Mapping[str, Any], arrays: Iterable[NDArray[Any]]) -> None:
    """Raises ValueError when the checksum of a checkpoint does not fit; version 1 has none."""
    values = {name: value for name, value in stored.items() if name != "sha256"}
    if stored["version"] > 1 and digest(values, arrays) != stored["sha256"]:
        raise ValueError("its checksum does not fit its contents")


def _check_version(name: str, stored: Mapping[str, Any]) -> None:
    if stored["version"] > VERSION:
        raise RunDirError(
            f"the checkpoint {name} is of version {stored['version']}, and this lrtrain reads up to {VERSION}: it was "
            "written by a later lrtrain, so update this one"
        )


def on_host(state: TrainState) -> TrainState:
    """Returns a copy of a state for a checkpoint, after it is computed; the state may be donated then."""
    import jax

    # On the host, because a copy on the devices compiles a program for every shape, and so do the slices that Orbax
    # takes of an array on several devices. All arrays are asked for before the first one is waited for.
    copy: TrainState = jax.tree.map(np.array, jax.device_get(state))
    return copy


class Checkpoints:
    """The checkpoints of one run: the last three that were written, and the best by the workload's headline, are kept.

    `save` notes what to write, and `write` begins to write it: between the two the devices can be given their next
    steps. A failure to write is raised by the next call or by `wait`. Of checkpoints that are held back, the last one
    and the best one so far are written before the next one that is not, and by `wait` and `close`.
    """

    def __init__(self, directory: Path, headline: Headline = ACCURACY) -> None:
        self._directory, self._headline = directory, headline
        self._manager: CheckpointManager | None = None
        self._best: Callable[[], None] | None = None
        self._last: Callable[[], None] | None = None
        self._is_due = False

    def save(
        self,
        copy: TrainState,
        table: NDArray[np.float32],
        position: Position,
        *,
        first: Callable[[], object] = lambda: None,
        at_once: bool = True,
    ) -> None:
        """Notes the contents of a checkpoint; `write` writes it, unless there is one of ``position.step``.

        The state is a copy that nobody changes, see `on_host`. Before the checkpoint is written, ``first`` is called;
        if that raises, nothing is written. If it is not to be written ``at_once``, it is held back. Raises
        TrainingError when an earlier checkpoint could not be written.
        """
        self.write()
        self._last = functools.partial(self._write, copy, table, position, first)
        if self._is_best(position):
            self._best = self._last
        self._is_due = at_once

    def write(self) -> None:
        """Begins to write what is due, in the background; raises TrainingError if an earlier one has failed."""
        if self._is_due:
            self._write_all()

    def _write_all(self) -> None:
        # Orbax refuses a step before its last one.
        best, last = self._best, self._last
        self._best, self._is_due = None, False
        try:
            if best is not None and best is not last:
                best()
        finally:
            self._last = None
            if last is not None:
                last()

    def _write(
        self, state: TrainState, table: NDArray[np.float32], position: Position, first: Callable[[], object]
    ) -> None:
        import jax
        import orbax.checkpoint as ocp

        first()
        if position.step in self._open().all_steps():
            return
        values = {**position.to_json(), "fingerprint": fingerprint(table), "version": VERSION}
        checksum = digest(values, [*jax.tree.leaves(state), table])
        # After an interrupt, Orbax would continue in a thread that it no longer waits for, and fail there when closed.
        with failures_named(self._directory), interrupts_held_back():
            self._open().save(
                position.step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    learning_rates=ocp.args.ArraySave(table),
                    progress=ocp.args.JsonSave({**values, "sha256": checksum}),
                ),
                metrics=self._metrics(position),
            )

    def _metrics(self, position: Position) -> dict[str, float]:
        """Returns what Orbax ranks the checkpoint by, under the name that it had first; one amid an epoch is last."""
        if not position.history or position.epoch_losses:
            return {_SCORE: 0.0 if self._headline == ACCURACY else -sys.float_info.max}
        return {_SCORE: self._score(position.history[-1])}

    def _score(self, epoch: EpochInfo) -> float:
        return self._headline.sign * epoch.value(self._headline.name)

    def _is_best(self, position: Position) -> bool:
        """Returns whether a checkpoint is that of the best epoch so far, the last of equals as for Orbax."""
        if not position.history or position.epoch_losses:
            return False
        return self._score(position.history[-1]) >= max(map(self._score, position.history))

    def restore_newest(self, like: TrainState) -> Restored:
        """Returns the newest checkpoint that is valid; ``like`` is a state of the same structure and placement.

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
        import jax
        import orbax.checkpoint as ocp

        position, table, stored = self._restore_position(step)
        with ocp.StandardCheckpointer() as checkpointer:
            layout = checkpointer.metadata(path / "state").item_metadata.tree
        _check_same_arrays(path.name, layout, like)
        # An earlier lrtrain had fewer fields, and those that it lacks are empty in what has the same arrays.
        fields = {name: value for name, value in like._asdict().items() if name in layout}
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, fields)
        restored = self._open().restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract)))
        state = like._replace(**restored["state"])
        _check_sum(stored, [*map(np.asarray, jax.tree.leaves(state)), table])
        return position, table, state

    def set_aside_after(self, step: int, processes: Processes) -> None:
        """Renames the checkpoints of later steps, which are damaged: these steps will have new ones."""
        self.close()
        with processes.together():
            for later, path in self._paths().items() if processes.is_main else ():
                if later > step:
                    _set_aside(path)

    def _restore_position(self, step: int) -> tuple[Position, NDArray[np.float32], dict[str, Any]]:
        import orbax.checkpoint as ocp

        wanted = ocp.args.Composite(
            learning_rates=ocp.args.ArrayRestore(restore_args=ocp.RestoreArgs(restore_type=np.ndarray)),
            progress=ocp.args.JsonRestore(),
        )
        restored = self._open().restore(step, args=wanted)
        stored: dict[str, Any] = restored["progress"]
        _check_version(f"of step {step}", stored)
        return Position.from_json(stored), np.asarray(restored["learning_rates"]), stored

    def latest(self) -> int | None:
        """Returns the step of the newest checkpoint, valid or damaged; None when there is none."""
        return max(self._paths(), default=None)

    def wait(self) -> None:
        """Waits until all checkpoints are on disk; raises TrainingError when one could not be written."""
        self._write_all()
        if self._manager is not None:
            with failures_named(self._directory):
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits until all checkpoints are on disk, and ends the threads of Orbax."""
        try:
            self._write_all()
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
                    valid = _has_valid_metrics(path)
                if not valid:
                    # Orbax reads the metrics of all checkpoints at its start, and raises.
                    _set_aside(path)
            self._manager = _manager(self._directory)
        return self._manager


def _manager(directory: Path) -> CheckpointManager:
    import orbax.checkpoint as ocp
    from orbax.checkpoint.checkpoint_managers import preservation_policy as policy

    _without_log()
    best = policy.BestN(get_metric_fn=lambda metrics: float(metrics[_SCORE]), n=1)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policy.AnyPreservationPolicy([policy.LatestN(KEEP_LATEST), best]),
        step_prefix="step",
        # Without it Orbax does not store the metrics, and a resumed run would not keep its best checkpoint so far.
        best_fn=lambda metrics: float(metrics[_SCORE]),
    )
    return ocp.CheckpointManager(directory, options=options)


def _without_log() -> None:
    """Silences Orbax, which logs its progress through absl, on every save, and the traceback of what it then raises."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)


def _has_valid_metrics(path: Path) -> bool:
    """Returns whether the metrics of a checkpoint can be read; a checkpoint without metrics is valid."""
    try:
        return _SCORE in json.loads((path / "metrics" / "metrics").read_bytes())
    except FileNotFoundError:
        return True
    except (IsADirectoryError, NotADirectoryError, ValueError, TypeError):
        return False


def _check_same_arrays(name: str, stored: Any, like: TrainState) -> None:
    """Raises RunDirError when a checkpoint has other arrays than ``like``: it is valid, but of another network.

    Orbax keeps ``stored``, the shapes and types of its arrays, with checksums, so damage is no difference.
    """
    if different := difference(stored, like):
        raise RunDirError(
            f"checkpoint {name} is of another network or optimizer: {different}: resume with the data, the model and "
            "the optimizer that the run began with"
        )


def difference(stored: Any, now: Any) -> str | None:
    """Returns the first array that a checkpoint has otherwise, or that is missing in one, in words; None if none is."""
    then, wanted = _described(stored), _described(now)
    for array in wanted | then:
        if then.get(array) != wanted.get(array):
            return f"{array} is {then.get(array, 'not there')} in it, and {wanted.get(array, 'not there')} now"
    return None


def _described(tree: Any) -> dict[str, str]:
    """Returns the type and shape of every array by its name, such as ``params.Dense_0.kernel``."""
    import jax

    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        jax.tree_util.keystr(where, simple=True, separator="."): f"{leaf.dtype}{list(leaf.shape)}"
        for where, leaf in leaves
    }


def _set_aside(path: Path) -> None:
    """Renames a checkpoint, so that neither Orbax nor lrtrain reads it; nothing is removed."""
    names = numbered(path.with_name(f"damaged_{path.name}"))
    path.rename(next(each for each in names if not each.exists()))
