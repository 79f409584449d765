"""The conditions of a comparison: what is written down when it begins, and what of it may not change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lrtrain.comparison.plan import Plan
from lrtrain.errors import LrtrainError, RunDirError
from lrtrain.plugins.discovery import files_below
from lrtrain.plugins.loading import activate
from lrtrain.runs.conditions import Code, check_data, codes_of, model_version, other_code
from lrtrain.runs.versions import versions
from lrtrain.schedules.table import build_table, fingerprint, make_context

if TYPE_CHECKING:
    from lrtrain.comparison.trainer import Trainer


def conditions(plan: Plan, trainer: Trainer) -> dict[str, Any]:
    """Returns the present conditions: data, model, versions, and a digest of each schedule's learning rates."""
    steps, epochs = trainer.steps_per_epoch, plan.train.epochs
    prints: dict[str, str] = {}
    codes: dict[str, str | None] = {}
    for row in plan.rows:
        try:
            with files_below(plan.folder):
                active = activate([row.spec])
                prints[row.label] = fingerprint(build_table(active, make_context(steps * epochs, steps)).values)
        except LrtrainError:
            # The outcome of each of its trials will name the problem.
            continue
        codes |= codes_of(active.plugins)
    return {
        "versions": {**versions(), **model_version(plan.train.model)},
        "device": trainer.device,
        "data": dict(trainer.data.identity),
        "program": trainer.program,
        "schedules": prints,
        "code": codes,
    }


def check_conditions(stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises RunDirError when the missing trials would be trained under other conditions than the finished ones.

    Args:
      stored: the conditions in ``comparison.json``; an earlier lrtrain wrote fewer.
      now: the conditions at present, from `conditions`.
    """
    check_data(stored.get("data"), now["data"], "comparison")
    for label, after in now["schedules"].items():
        if after != stored.get("schedules", {}).get(label, after):
            raise RunDirError(
                f"the learning rates of '{label}' are no longer those of the comparison, because the code of its "
                "plugin has changed: put it back, or start a new comparison"
            )
    if stored.get("versions") and (changed := other_code(_code(stored), _code(now))):
        raise RunDirError(f"{changed}: put it back, or start a new comparison")


def _code(about: Mapping[str, Any]) -> Code:
    return Code(about.get("code", {}), about.get("program"), about.get("versions", {}))
