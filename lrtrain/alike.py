"""What the processes of one distributed run must have been given alike, as facts to compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lrtrain.conditions import model_version
from lrtrain.config import TrainConfig
from lrtrain.discovery import Entry, files_below, find_plugin
from lrtrain.errors import PluginError
from lrtrain.spec import Spec, format_value, short
from lrtrain.versions import versions

if TYPE_CHECKING:
    from lrtrain.comparison.plan import Plan
    from lrtrain.job import Job

Facts: TypeAlias = Mapping[str, Any]

# Each host may have its data elsewhere. How many devices each process has is compared when JAX has found them.
_OWN = ("data_dir", "devices")
_MOST_SAID, _LONGEST = 3, 80
# The fact of a process that was refused something before the others could hear of anything else.
_REFUSED = "refused"


def facts_of_job(job: Job, resume: bool, on_schedule_change: str | None, run_dir: str | Path | None) -> dict[str, Any]:
    """Returns the facts of a call of `train`; ``run_dir`` as it was given."""
    facts = {
        "command": "train",
        "plugins": [plugin.entry.name for plugin in job.active.plugins],
        **_config_facts(job.config),
        **_call_facts(resume, run_dir),
        "on_schedule_change": on_schedule_change,
        "checkpoint_every": job.rule.text,
    }
    for plugin in job.active.plugins:
        facts[f"version of plugin {plugin.entry.name}"] = _code(plugin.entry)
        facts.update(_option_facts(plugin.entry.name, plugin.spec()))
    return facts


def facts_of_plan(plan: Plan, resume: bool, run_dir: str | Path | None) -> dict[str, Any]:
    """Returns the facts of a call of `compare`; ``run_dir`` as it was given."""
    facts = {
        "command": "compare",
        "schedules": [row.label for row in plan.rows],
        **_config_facts(plan.train),
        **_call_facts(resume, run_dir),
        "protocol": plan.protocol,
        **{_OF_THE_EFFORT.get(name, name): value for name, value in dataclasses.asdict(plan.effort).items()},
        "holdout": plan.holdout,
        "baseline": plan.baseline,
        "all_pairs": plan.all_pairs,
    }
    with files_below(plan.folder):
        for row in plan.rows:
            facts[f"plugin of {row.label}"] = _found_code(row.spec.name)
            facts.update(_option_facts(row.label, row.spec))
    return facts


def facts_of_refusal(error: Exception) -> dict[str, Any]:
    """Returns the facts of a process that cannot take part, because of an error."""
    return {_REFUSED: str(error)}


def facts_found(data: Mapping[str, Any], program: str | None) -> dict[str, Any]:
    """Returns the facts that show when data and model are loaded.

    Args:
      data: as `lrtrain.data.Dataset.identity` has it.
      program: as `lrtrain.conditions.program_of` has it; None for the default model.
    """
    return {**{f"{name} of the data": value for name, value in data.items()}, "program of the model": program}


_OF_THE_EFFORT = {"scales": "lr_scales"}


def unequal(facts: Sequence[Facts], index: int) -> str | None:
    """Returns in what a process was given something else than process 0, as a sentence; None when all are alike.

    Args:
      facts: those of each process.
      index: the process that asks: it hears of itself, or else of the first one that differs.
    """
    others = [index, *(each for each in range(len(facts)) if each != index)]
    for process in others:
        if _REFUSED in facts[process]:
            return f"process {process} cannot take part: {facts[process][_REFUSED]}"
    for process in others:
        found = list(_differences(facts[process], facts[0], process))
        if found:
            more = f" and {len(found) - _MOST_SAID} more" if len(found) > _MOST_SAID else ""
            return (
                f"process {process} was not given the same as process 0 ({'; '.join(found[:_MOST_SAID])}{more}): give "
                "every process the same command, but for --process-id"
            )
    return None


def _differences(theirs: Facts, first: Facts, process: int) -> Iterator[str]:
    for name in {**first, **theirs}:
        if name not in theirs or name not in first:
            yield f"{name} in process {process if name in theirs else 0} only"
        elif theirs[name] != first[name]:
            yield f"{name}={_short(theirs[name])} in process {process} and {name}={_short(first[name])} in process 0"


def _short(value: Any) -> str:
    return short(str(value), _LONGEST)


def _config_facts(config: TrainConfig) -> dict[str, Any]:
    own = {name: value for name, value in config.to_json().items() if name not in _OWN}
    return {**own, **{f"SHA-256 of {name}": digest for name, digest in model_version(config.model).items()}}


def _call_facts(resume: bool, run_dir: str | Path | None) -> dict[str, Any]:
    of_the_libraries = {f"version of {name}": version for name, version in versions().items()}
    # All take the path of process 0 in the end, so where a relative one begins may differ.
    return {"resume": resume, "run_dir": None if run_dir is None else str(run_dir), **of_the_libraries}


def _option_facts(title: str, spec: Spec) -> dict[str, Any]:
    return {f"{title}.{name}": format_value(value) for name, value in spec.options.items()}


def _found_code(name: str) -> str:
    try:
        return _code(find_plugin(name))
    except PluginError:
        # A comparison notes it as the end of that schedule's runs.
        return "not found"


def _code(entry: Entry) -> str:
    """Returns what tells one code from another; where a file is, each host may have it elsewhere."""
    return f"{entry.name} {entry.version}" if entry.in_file else entry.origin()
