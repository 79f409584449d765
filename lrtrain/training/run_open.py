"""What a run holds open while it trains: its lock, its checkpoints, its logs."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from lrtrain.engine.processes import Processes
from lrtrain.errors import TrainingError
from lrtrain.figures import draw_curves
from lrtrain.runs.directory import RunDir, refusals_named
from lrtrain.runs.lock import writing
from lrtrain.runs.logs import Logs, NoLogs, RunLogs
from lrtrain.training.checkpoint_failures import late_errors_dropped
from lrtrain.training.checkpoints import Checkpoints, import_orbax

if TYPE_CHECKING:
    from lrtrain.training.plan import Planned


def lock(run_dir: RunDir, processes: Processes, held: contextlib.ExitStack) -> None:
    """Keeps other processes from writing to a run until this one ends."""
    with processes.together():
        if processes.is_main:
            held.enter_context(writing(run_dir.path))


def _prepare(early: Callable[[], object], run_dir: RunDir, planned: Planned, steps_per_epoch: int) -> None:
    """Does what the first steps need not wait for, in the order in which it is needed."""
    early()
    import_orbax()
    draw_curves({str(planned.spec): planned.values}, run_dir.picture, steps_per_epoch)


@contextlib.contextmanager
def open_checkpoints(run_dir: RunDir, processes: Processes) -> Iterator[Checkpoints]:
    """Opens the checkpoints of a run, and closes them when it ends."""
    with late_errors_dropped() as rest:
        try:
            with _closed_at_the_end(Checkpoints(run_dir.checkpoints), processes) as checkpoints:
                yield checkpoints
        except TrainingError:
            rest()
            raise


@contextlib.contextmanager
def _closed_at_the_end(checkpoints: Checkpoints, processes: Processes) -> Iterator[Checkpoints]:
    try:
        yield checkpoints
    except BaseException:
        # To close them is to wait for the other processes, and they may have gone.
        if processes.alone:
            checkpoints.close()
        raise
    checkpoints.close()


@contextlib.contextmanager
def open_logs(
    run_dir: RunDir, planned: Planned, steps_per_epoch: int, processes: Processes, early: Callable[[], object]
) -> Iterator[tuple[Logs, Callable[[], object]]]:
    """Opens the logs; what is yielded beside them draws the picture, on its own thread, when it is first called."""
    if not processes.is_main:
        yield NoLogs(), import_orbax
        return
    with RunLogs(run_dir) as logs, ThreadPoolExecutor(1) as pool:

        @functools.cache
        def meanwhile() -> Future[None]:
            return pool.submit(_prepare, early, run_dir, planned, steps_per_epoch)

        yield logs, meanwhile
        with refusals_named(run_dir.path):
            meanwhile().result()
