"""The facts in which all processes of a distributed comparison must agree."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lrtrain.comparison.plan import Plan
from lrtrain.errors import PluginError
from lrtrain.plugins.discovery import files_below, find_plugin
from lrtrain.training.facts import call_facts, code_fact, config_facts, option_facts

_OF_THE_EFFORT = {"scales": "lr_scales"}


def facts_of_plan(plan: Plan, resume: bool, run_dir: str | Path | None) -> dict[str, Any]:
    """Returns the facts of a call of `compare`; ``run_dir`` as it was given."""
    facts = {
        "command": "compare",
        "schedules": [row.label for row in plan.rows],
        **config_facts(plan.train),
        **call_facts(resume, run_dir),
        "protocol": plan.protocol,
        **{_OF_THE_EFFORT.get(name, name): value for name, value in dataclasses.asdict(plan.effort).items()},
        "holdout": plan.holdout,
        "baseline": plan.baseline,
        "all_pairs": plan.all_pairs,
    }
    with files_below(plan.folder):
        for row in plan.rows:
            facts[f"plugin of {row.label}"] = _found_code(row.spec.name)
            facts.update(option_facts(row.label, row.spec))
    return facts


def _found_code(name: str) -> str:
    try:
        return code_fact(find_plugin(name))
    except PluginError:
        # The schedule's trials are recorded as failed, with the reason.
        return "not found"
