"""What must be the same in all processes of a distributed run: facts by name, which process 0 compares with its own.

`Job.facts` has all of a run's call, these among them, `Found.facts` what it has found on disk. They are compared by
``engine/processes.py``: before JAX connects the processes (`unequal`), and after (`Processes.check_alike`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lrtrain.plugins.discovery import Entry
from lrtrain.plugins.spec import Spec, format_value
from lrtrain.runs.conditions import file_versions, versions
from lrtrain.runs.train_config import TrainConfig
from lrtrain.workloads.loading import Chosen

# Each host may have its data in another place. The number of devices is compared later, when JAX has found them.
_OWN = ("data_dir", "devices")


def call_facts(config: TrainConfig, resume: bool, run_dir: str | Path | None) -> dict[str, Any]:
    """Returns the facts of the call of a process: its options, the file of its model, the versions of its libraries."""
    return {
        **{name: value for name, value in config.to_json().items() if name not in _OWN},
        **{f"SHA-256 of {name}": digest for name, digest in file_versions(config).items()},
        "resume": resume,
        # All processes use the path of process 0, so their working directories may differ.
        "run_dir": None if run_dir is None else str(run_dir),
        **{f"version of {name}": version for name, version in versions().items()},
    }


def option_facts(title: str, spec: Spec) -> dict[str, Any]:
    """Returns the options of a plugin as facts, each with a title before its name."""
    return {f"{title}.{name}": format_value(value) for name, value in spec.options.items()}


def workload_fact(chosen: Chosen) -> dict[str, Any]:
    """Returns the identity of a workload's code; the version of lrtrain tells that of its default."""
    return {"version of the workload": code_fact(chosen.entry)} if chosen.entry else {}


def code_fact(entry: Entry) -> str:
    """Returns the identity of a plugin's code; without the path of a file, which may differ between hosts."""
    return f"{entry.name} {entry.version}" if entry.in_file else entry.origin()
