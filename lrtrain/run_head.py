"""What is in a run's directory before it trains: a lock, logs up to its checkpoint, and what determines the run."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from lrtrain.distributed import Processes
from lrtrain.errors import RunDirError
from lrtrain.job import Job
from lrtrain.progress import Progress
from lrtrain.resume import Planned
from lrtrain.run_dir import make_run_dir, now, refusals_named
from lrtrain.run_open import lock
from lrtrain.versions import versions

if TYPE_CHECKING:
    import jax


def write_head(
    job: Job, config: dict[str, Any], progress: Progress, processes: Processes, held: contextlib.ExitStack
) -> None:
    """Makes the directory of a new run, or brings that of an old one to its checkpoint; writes what comes first."""
    run_dir = job.run_dir
    if job.stored is None:
        with processes.together():
            if processes.is_main:
                make_run_dir(run_dir)
        lock(run_dir, processes, held)
    with processes.together():
        if processes.is_main:
            with refusals_named(run_dir.path):
                run_dir.cut_logs(progress.step)
                run_dir.write_config(config)
    with processes.together():
        if not run_dir.config.is_file():
            raise RunDirError(f"{run_dir.path} is not there in every process: give a --run-dir that all of them share")


def describe(
    job: Job, planned: Planned, progress: Progress, devices: list[jax.Device], steps_per_epoch: int
) -> dict[str, Any]:
    """Returns what ``config.json`` holds of a run, its version aside."""
    specs = [plugin.spec() for plugin in job.active.plugins]
    names = [spec.name for spec in specs]
    chosen = names.index(job.active.schedule_plugin().entry.reference)
    # After `--on-schedule-change keep` the run's schedule is the one it had, whatever was asked for.
    specs[chosen] = planned.spec
    described = {
        "plugins": [spec.table() for spec in specs],
        "schedule": {"plugin": chosen, **planned.to_json()},
        "train": job.config.to_json(),
        "steps_per_epoch": steps_per_epoch,
        "total_steps": len(planned.values),
        "versions": versions(*(plugin.entry for plugin in job.active.plugins)),
        "device": {"kind": devices[0].device_kind, "count": len(devices)},
        "processes": len({device.process_index for device in devices}),
        "checkpoint_every": job.rule.text,
        "started": now(),
    }
    if job.stored is not None:
        was = {key: job.stored[key] for key in ("versions", "device", "processes") if key in job.stored}
        described["started"] = job.stored.get("started")
        described["resumed"] = [*job.stored.get("resumed", []), {"step": progress.step, "before": was}]
    return described
