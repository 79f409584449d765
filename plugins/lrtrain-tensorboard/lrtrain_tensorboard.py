"""TensorBoard's event files, as a plugin of lrtrain."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from lrtrain import Doc, EpochInfo, PositiveInt, RunInfo, StepInfo, hookimpl

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter


@dataclass(frozen=True)
class TensorBoard:
    """Writes loss and learning rate of steps, and the metrics of epochs, for TensorBoard.

    The tags are ``step/loss``, ``step/learning_rate``, ``epoch/train_loss``, ``epoch/test_loss`` and, for each metric
    of the workload, ``epoch/test_accuracy`` or the like. The horizontal axis is the optimizer update, counted from 0;
    an epoch stands at its last update. What is written is on disk after every epoch, and at the end of the process or
    run.

    A resumed run writes a second file, whose first record tells TensorBoard to drop what it has from that update on, so
    no update shows twice.

    Example:
      >>> import lrtrain
      >>> from pathlib import Path
      >>> from tempfile import TemporaryDirectory
      >>> with TemporaryDirectory() as folder:
      ...     run = lrtrain.RunInfo(Path(folder), {}, 10, 5, 2, ())
      ...     TensorBoard().on_step(run, lrtrain.StepInfo(0, 0, 1e-3, 2.3))
      ...     [path.name for path in Path(folder).iterdir()]
      ['tensorboard']

    Reference: https://www.tensorflow.org/tensorboard
    """

    log_dir: Annotated[
        str | None, Doc("where the run gets a directory of its name; none: tensorboard in the run directory")
    ] = None
    interval: Annotated[PositiveInt, Doc("optimizer updates from one that is written to the next")] = 10
    _writers: dict[Path, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @hookimpl
    def on_step(self, run: RunInfo, step: StepInfo) -> None:
        """Writes every update whose number is a multiple of ``interval``."""
        writer = self._writer(run, step.step)
        if step.step % self.interval == 0:
            _add(writer, step.step, {"step/loss": step.loss, "step/learning_rate": step.learning_rate})

    @hookimpl
    def on_epoch_end(self, run: RunInfo, epoch: EpochInfo) -> None:
        """Writes the metrics, and brings all to the disk."""
        last = epoch.step - 1
        writer = self._writer(run, last)
        tested = {f"epoch/test_{name}": value for name, value in epoch.means.items()}
        _add(writer, last, {"epoch/train_loss": epoch.train_loss, **tested})
        writer.flush()

    def _writer(self, run: RunInfo, step: int) -> EventFileWriter:
        """Returns the writer of a run; the first call, at the first update of this process, opens it."""
        directory = run.directory / "tensorboard" if self.log_dir is None else _own(Path(self.log_dir), run)
        if directory not in self._writers:
            self._writers[directory] = writer = _open(directory, step)
            # No hook tells that the run has ended: a hook of another plugin may end it in the middle of an epoch.
            weakref.finalize(self, writer.close)
        return self._writers[directory]


def _own(log_dir: Path, run: RunInfo) -> Path:
    return log_dir.expanduser() / run.directory.name


def _open(directory: Path, step: int) -> EventFileWriter:
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(directory))
    # TensorBoard takes this as a restart, and drops what earlier files have of this update and later ones.
    writer.add_event(Event(step=step, session_log=SessionLog(status=SessionLog.START)))
    return writer


def _add(writer: EventFileWriter, step: int, values: dict[str, float]) -> None:
    import time

    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    writer.add_event(Event(step=step, wall_time=time.time(), summary=Summary(value=scalars)))
