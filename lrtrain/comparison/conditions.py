"""The conditions of a comparison: those written down when it begins, and those in which all processes must agree."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrtrain.comparison.plan import Plan
from lrtrain.comparison.rows import Row
from lrtrain.errors import LrtrainError, PluginError, RunDirError
from lrtrain.plugins.discovery import files_below, find_plugin
from lrtrain.plugins.loading import ActivePlugins, activate
from lrtrain.runs.conditions import check_data, codes_of, file_versions, optimizer_code, other_code, versions
from lrtrain.runs.run_config import Device
from lrtrain.schedules.table import ScheduleTable, build_table, fingerprint, make_context
from lrtrain.training.prepare import Found
from lrtrain.training.same_in_processes import call_facts, code_fact, option_facts, workload_fact
from lrtrain.workloads.headline import noted

# Of the learning rate of the workload: the defaults of all schedules are nearer.
_FAR = 8.0


def build_row(plan: Plan, row: Row, steps_per_epoch: int) -> tuple[ActivePlugins, ScheduleTable]:
    """Loads the plugin of a row, and builds its schedule; raises UsageError when either is refused."""
    with files_below(plan.folder):
        active = activate(row.specs, factor=plan.workload.factor, headline=plan.workload.workload.headline)
        return active, build_table(active, make_context(steps_per_epoch * plan.train.epochs, steps_per_epoch))


def conditions(plan: Plan, found: Found, device: Device, guess: Mapping[str, float], held_out: int) -> dict[str, Any]:
    """Returns the present conditions: data, model, versions, and a digest of each schedule's learning rates.

    The ``guess`` has the loss and metrics on the test set of the best answer that is the same for all examples, and
    ``held_out`` is the number of training examples that are held out.
    """
    headline, usual = plan.workload.workload.headline, plan.workload.workload.defaults.learning_rate
    prints: dict[str, str] = {}
    centres: dict[str, float] = {}
    codes: dict[str, str | None] = {}
    for row in plan.rows:
        # The outcome of each of its trials will name the problem.
        with contextlib.suppress(LrtrainError):
            active, table = build_row(plan, row, found.steps_per_epoch)
            prints[row.label] = fingerprint(table.values)
            codes |= codes_of(active.plugins)
            centres[row.label] = centre_of_grid(float(table.values.max()), usual)
    return {
        "versions": {**versions(*filter(None, [plan.workload.entry])), **file_versions(plan.train)},
        "device": vars(device),
        "data": dict(found.data),
        "program": found.program,
        "schedules": prints,
        "code": {**codes, **optimizer_code(plan.train)},
        **({"headline": vars(headline)} if noted(headline) else {}),
        **({"guess": dict(guess)} if guess else {}),
        "held_out": held_out,
        "centres": centres,
    }


def centre_of_grid(highest: float, usual: float) -> float:
    """Returns the scale of a schedule around which its grid is: at which its highest learning rate is the workload's.

    All schedules are tuned over the same learning rates then, whatever their defaults are. One whose own learning rate
    is far from that of the workload was given it on purpose, or for another optimizer: its grid is around its own.
    """
    return usual / highest if usual / _FAR <= highest <= usual * _FAR else 1.0


def check_conditions(stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises RunDirError when the missing trials would be trained under other conditions than the finished ones.

    These are in ``comparison.json``, where an earlier lrtrain wrote fewer; the present ones are from `conditions`.
    """
    check_data(stored.get("data"), now["data"], "comparison")
    for label, after in now["schedules"].items():
        if after != stored.get("schedules", {}).get(label, after):
            raise RunDirError(
                f"the learning rates of '{label}' are no longer those of the comparison, because the code of its "
                "plugin has changed: put it back, or start a new comparison"
            )
    if stored.get("versions") and (changed := other_code(stored, now)):
        raise RunDirError(f"{changed}: put it back, or start a new comparison")


def facts_of_plan(plan: Plan, resume: bool, run_dir: str | Path | None) -> dict[str, Any]:
    """Returns the facts in which all processes of a call of `compare` must agree; ``run_dir`` as it was given."""
    effort = dataclasses.asdict(plan.effort)
    facts = {
        "command": "compare",
        "schedules": [row.label for row in plan.rows],
        **call_facts(plan.train, resume, run_dir),
        **workload_fact(plan.workload),
        "protocol": plan.protocol,
        "lr_scales": effort.pop("scales"),
        **effort,
        "holdout": plan.holdout,
        "baseline": plan.baseline,
        "all_pairs": plan.all_pairs,
    }
    with files_below(plan.folder):
        for row in plan.rows:
            facts[f"plugin of {row.label}"] = "not found"
            # Else its trials are recorded as failed, with the reason.
            with contextlib.suppress(PluginError):
                facts[f"plugin of {row.label}"] = ", ".join(
                    str(code_fact(find_plugin(spec.name))) for spec in row.specs
                )
            facts.update(option_facts(row.label, row.spec))
            for spec in row.observers:
                facts.update(option_facts(f"{row.label}, {spec.name}", spec))
    return facts
