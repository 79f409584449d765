"""The directory of a run while it trains: its lock, its configuration, its logs and its checkpoints."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from lrtrain.engine.processes import Processes
from lrtrain.errors import RunDirError, TrainingError
from lrtrain.figures import draw_curves
from lrtrain.files import write_whole
from lrtrain.runs.conditions import codes_of, optimizer_code
from lrtrain.runs.directory import RunDir, check_unused, make_new_directory, now, refusals_named
from lrtrain.runs.lock import writing
from lrtrain.runs.logs import Logs, RunLogs, cut_steps, restore_metrics
from lrtrain.runs.record import finite
from lrtrain.runs.run_config import Device, Resumed, RunConfig, StoredSchedule, read_config, write_config
from lrtrain.schedules.table import fingerprint
from lrtrain.training.checkpoint_errors import late_errors_dropped
from lrtrain.training.checkpoints import Checkpoints, import_orbax
from lrtrain.training.job import Job
from lrtrain.training.position import Position
from lrtrain.training.prepare import Found
from lrtrain.training.rates import RunRates
from lrtrain.workloads.headline import ACCURACY, Headline, noted

if TYPE_CHECKING:
    import jax

    from lrtrain.training.start import Start


def claim(job: Job, processes: Processes, held: contextlib.ExitStack) -> RunDir:
    """Makes and locks the directory of a new run; raises RunDirError when it is not empty, or cannot be made."""
    return RunDir(Path(processes.from_main(lambda: str(_claimed(job, held)))))


def _claimed(job: Job, held: contextlib.ExitStack) -> Path:
    path = make_new_directory(job.run_dir.path, named=job.named)
    held.enter_context(writing(path))
    check_unused(path)
    return path


def hold(job: Job, processes: Processes, held: contextlib.ExitStack) -> None:
    """Locks a run that is continued; raises RunDirError when another process writes to it, or has since it was read."""
    with processes.together():
        if processes.is_main:
            held.enter_context(writing(job.run_dir.path))
    with processes.together():
        if read_config(job.run_dir) != job.stored:
            raise RunDirError(f"another process has continued the run in {job.run_dir.path} meanwhile: try again")


def write_run_config(job: Job, config: RunConfig, position: Position, processes: Processes) -> int:
    """Cuts the logs to the checkpoint and writes ``config.json``; returns how many lines of metrics were restored."""
    run_dir, restored = job.run_dir, 0
    with processes.together():
        if processes.is_main:
            with refusals_named(run_dir.path):
                cut_steps(run_dir, position.step)
                restored = restore_metrics(run_dir, position.history)
                write_config(run_dir, config)
    with processes.together():
        if not run_dir.config.is_file():
            raise RunDirError(f"{run_dir.path} is not there in every process: give a --run-dir that all of them share")
    return restored


def describe(job: Job, start: Start, devices: list[jax.Device], found: Found) -> RunConfig:
    """Returns the content of ``config.json`` when the run begins, or goes on."""
    rates, position = start.rates, start.position
    specs = [plugin.spec() for plugin in job.active.plugins]
    chosen = [spec.name for spec in specs].index(job.active.schedule_plugin().entry.reference)
    # After `--on-schedule-change keep` the run has its old schedule, and not the one that was asked for.
    specs[chosen] = rates.spec
    stored = job.stored
    return RunConfig(
        plugins=tuple(spec.table() for spec in specs),
        schedule=StoredSchedule(chosen, rates.start, rates.steps, fingerprint(rates.values)),
        train=job.config,
        steps_per_epoch=found.steps_per_epoch,
        total_steps=len(rates.values),
        data=found.data,
        versions=job.versions(),
        code={**codes_of(job.active.plugins), **optimizer_code(job.config)},
        program=found.program,
        device=Device(devices[0].device_kind, len(devices)),
        processes=len({device.process_index for device in devices}),
        checkpoint_every=job.rule.text,
        started=now() if stored is None else stored.started,
        resumed=() if stored is None else (*stored.resumed, _resumed(stored, position.step)),
        headline=noted(job.chosen.workload.headline),
        measured_on=found.measured_on,
        initial=start.initial,
        shapes=found.shapes,
        past_stop=position.step if stored is not None and job.goes_past(position.step) else None,
    )


def _resumed(stored: RunConfig, step: int) -> Resumed:
    values = stored.to_json()
    return Resumed(step, {name: values[name] for name in ("versions", "device", "processes") if name in values})


def write_test(run_dir: RunDir, step: int, means: Mapping[str, float], processes: Processes) -> None:
    """Writes ``test.json``: what was measured on the test set, which is not what the epochs are measured on."""
    if processes.is_main:
        with refusals_named(run_dir.path):
            write_whole(run_dir.test, json.dumps({"step": step, "loss": None, **finite(means)}) + "\n")


@contextlib.contextmanager
def open_checkpoints(run_dir: RunDir, processes: Processes, headline: Headline = ACCURACY) -> Iterator[Checkpoints]:
    """Opens the checkpoints of a run, and closes them when it ends."""
    checkpoints = Checkpoints(run_dir.checkpoints, headline)
    with late_errors_dropped() as rest:
        try:
            # After an error, closing them waits for the other processes, and these may have ended.
            with contextlib.closing(checkpoints) if processes.alone else contextlib.nullcontext():
                yield checkpoints
            checkpoints.close()
        except TrainingError:
            rest()
            raise


@contextlib.contextmanager
def open_logs(
    run_dir: RunDir, rates: RunRates, steps_per_epoch: int, processes: Processes, early: Callable[[], object]
) -> Iterator[tuple[Logs, Callable[[], object]]]:
    """Opens the logs; the function that is yielded with them draws the picture in a thread when it is first called."""

    def prepare() -> None:
        # The work that the first steps need not wait for, in the order in which its results are needed.
        early()
        import_orbax()
        draw_curves({str(rates.spec): rates.values}, run_dir.picture, steps_per_epoch)

    if not processes.is_main:
        yield Logs(), import_orbax
        return
    with RunLogs(run_dir) as logs, ThreadPoolExecutor(1) as pool:
        meanwhile = functools.cache(lambda: pool.submit(prepare))
        yield logs, meanwhile
        with refusals_named(run_dir.path):
            meanwhile().result()
