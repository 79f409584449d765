"""What is in a run's directory before it trains: a lock, logs up to its checkpoint, and what determines the run."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtrain.engine.processes import Processes
from lrtrain.errors import RunDirError
from lrtrain.runs.conditions import codes_of, model_version
from lrtrain.runs.directory import RunDir, check_unused, make_directory, make_new_directory, now, refusals_named
from lrtrain.runs.lock import writing
from lrtrain.runs.log_repair import cut_steps, restore_metrics
from lrtrain.runs.versions import versions
from lrtrain.training.job import Job
from lrtrain.training.plan import Planned
from lrtrain.training.position import Progress
from lrtrain.training.run_open import lock

if TYPE_CHECKING:
    import jax


def claim(job: Job, processes: Processes, held: contextlib.ExitStack) -> RunDir:
    """Makes the directory of a new run and keeps other processes from writing to it until this one ends.

    Raises:
      RunDirError: it is not empty, as when another process has begun a run in it meanwhile, or cannot be made.
    """
    return RunDir(Path(processes.from_main(lambda: str(_claimed(job, held)))))


def _claimed(job: Job, held: contextlib.ExitStack) -> Path:
    if job.named:
        make_directory(job.run_dir.path)
    run_dir = job.run_dir if job.named else RunDir(make_new_directory(job.run_dir.path))
    held.enter_context(writing(run_dir.path))
    check_unused(run_dir)
    return run_dir.path


def hold(job: Job, processes: Processes, held: contextlib.ExitStack) -> None:
    """Keeps other processes from writing to a run that goes on.

    Raises:
      RunDirError: one does, or has done so since the run was read.
    """
    lock(job.run_dir, processes, held)
    with processes.together():
        if job.run_dir.read_config() != job.stored:
            raise RunDirError(f"another process has continued the run in {job.run_dir.path} meanwhile: try again")


def write_head(job: Job, config: dict[str, Any], progress: Progress, processes: Processes) -> int:
    """Brings the logs of a run to its checkpoint, and writes its configuration.

    Returns:
      How many lines of ``metrics.jsonl`` were missing or damaged and have been restored from the checkpoint.
    """
    run_dir, restored = job.run_dir, 0
    with processes.together():
        if processes.is_main:
            with refusals_named(run_dir.path):
                cut_steps(run_dir, progress.step)
                restored = restore_metrics(run_dir, progress.history)
                run_dir.write_config(config)
    with processes.together():
        if not run_dir.config.is_file():
            raise RunDirError(f"{run_dir.path} is not there in every process: give a --run-dir that all of them share")
    return restored


def current_versions(job: Job) -> dict[str, str]:
    """Returns the versions of what a run depends on, as they are now."""
    return {**versions(*(plugin.entry for plugin in job.active.plugins)), **model_version(job.config.model)}


def _code(job: Job, found: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the digests of code that is not that of lrtrain or of a schedule, where there is any."""
    noted = {"code": codes_of(job.active.plugins), "program": found["program"]}
    return {name: value for name, value in noted.items() if value}


def describe(
    job: Job,
    planned: Planned,
    progress: Progress,
    devices: list[jax.Device],
    found: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns what ``config.json`` holds of a run, its version aside.

    Args:
      job: what is to be done.
      planned: the learning rates.
      progress: where it begins.
      devices: what it is trained on.
      found: what was found in its data and its model: ``steps_per_epoch``, ``data``, ``program``.
    """
    specs = [plugin.spec() for plugin in job.active.plugins]
    names = [spec.name for spec in specs]
    chosen = names.index(job.active.schedule_plugin().entry.reference)
    # After `--on-schedule-change keep` the run's schedule is the one it had, whatever was asked for.
    specs[chosen] = planned.spec
    described = {
        "plugins": [spec.table() for spec in specs],
        "schedule": {"plugin": chosen, **planned.to_json()},
        "train": job.config.to_json(),
        "steps_per_epoch": found["steps_per_epoch"],
        "total_steps": len(planned.values),
        "data": found["data"],
        "versions": current_versions(job),
        **_code(job, found),
        "device": {"kind": devices[0].device_kind, "count": len(devices)},
        "processes": len({device.process_index for device in devices}),
        "checkpoint_every": job.rule.text,
        "started": now(),
    }
    if job.stored is not None:
        was = {key: job.stored[key] for key in ("versions", "device", "processes") if key in job.stored}
        described["started"] = job.stored.get("started")
        if job.goes_past(progress.step):
            described["past_stop"] = progress.step
        described["resumed"] = [*job.stored.get("resumed", []), {"step": progress.step, "before": was}]
    return described
