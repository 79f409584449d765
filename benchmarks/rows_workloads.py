"""A training step of workloads that ship, against the same in PyTorch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from statistics import median
from typing import TypeAlias

from benchmarks.competitors import EPOCH, LRTRAIN, Competitor
from benchmarks.options import ROOT, Options, environment
from benchmarks.table import Row, Table
from benchmarks.targets import Measured, Target, at_least
from benchmarks.workers import Outcome, interleaved
from benchmarks.workload_problem import CHAR_LM, RESNET, SETTINGS, Setting

_NEEDS = ("torch",)
Named: TypeAlias = Mapping[str, Mapping[str, Competitor]]
"""The competitors of each problem, by name."""


def named(of: Named) -> dict[str, Competitor]:
    """Returns them by names that are unique: ``PROBLEM: COMPETITOR``."""
    return {f"{problem}: {name}": each for problem, competitors in of.items() for name, each in competitors.items()}


_OF = {
    RESNET: {
        LRTRAIN: Competitor(".workload_run:make_resnet", EPOCH),
        "PyTorch eager": Competitor(".torch_workloads:make_resnet", 10, _NEEDS),
        "PyTorch channels_last": Competitor(".torch_workloads:make_resnet_channels_last", 10, _NEEDS),
        "PyTorch channels_last, fused SGD": Competitor(".torch_workloads:make_resnet_fused", 10, _NEEDS),
    },
    CHAR_LM: {
        LRTRAIN: Competitor(".workload_run:make_char_lm", EPOCH),
        "PyTorch eager": Competitor(".torch_workloads:make_char_lm", 20, _NEEDS),
        "PyTorch, fused AdamW": Competitor(".torch_workloads:make_char_lm_fused", 20, _NEEDS),
    },
}
COMPETITORS = named(_OF)
_TOLERANCE = 1e-4


def measure(options: Options) -> Measured:
    """Times the competitors of each workload in turn."""
    return measured_beside(_OF, dict.fromkeys(_OF, 1.0), options, __name__)


def measured_beside(of: Named, bounds: Mapping[str, float], options: Options, module: str) -> Measured:
    """Times the competitors of each problem in turn; ``bounds`` say how many times as fast lrtrain should be."""
    command = [sys.executable, "-m", "benchmarks.workload_problem", str(options.directory), *of]
    subprocess.run(command, check=True, cwd=ROOT, env=environment(options.directory))
    tables = {name: _table(name, competitors, options, module) for name, competitors in of.items()}
    return Measured([*tables.values()], [_target(table, bounds[name]) for name, table in tables.items()])


def _table(problem: str, competitors: Mapping[str, Competitor], options: Options, module: str) -> Table:
    outcomes = interleaved([f"{problem}: {name}" for name in competitors], options, module, anew=True)
    expected = outcomes[f"{problem}: {LRTRAIN}"].loss
    rows = [_row(name, outcomes[f"{problem}: {name}"], expected) for name in competitors]
    return Table(problem, "ms a step", rows, _about(SETTINGS[problem]), LRTRAIN)


def _row(name: str, outcome: Outcome, expected: float | None) -> Row:
    """Returns a row; a competitor with other losses has no figures."""
    if outcome.missing or outcome.loss is None:
        return Row(name, note=outcome.missing or "it gave no loss")
    if expected is None or abs(outcome.loss / expected - 1) > _TOLERANCE:
        return Row(name, note=f"trains something else: loss {outcome.loss:.6f} instead of {expected}")
    return Row(name, [seconds * 1e3 for seconds in outcome.seconds], f"loss {outcome.loss:.5f}")


def _about(setting: Setting) -> str:
    drawn = " and ".join(f"{name}={value}" for name, value in setting.options.items())
    without = f", and {drawn}, for nothing may be drawn at random where losses are compared" if drawn else ""
    return (
        f"One optimizer update, batch {setting.batch}, with the workload's network, loss and optimizer{without}. "
        f"`{LRTRAIN}` is all of `lrtrain.train`, an epoch of {setting.examples} examples without its evaluation. The "
        "others begin with the same weights and have the same order of examples; the mean loss of the first two steps, "
        f"in the note, agrees within {_TOLERANCE:g}, or there is no figure. Where the network normalises a batch, "
        "PyTorch's sees those two batches in two parts, as lrtrain's two devices do, and the batches that are timed as "
        "a whole."
    )


def _target(table: Table, bound: float) -> Target:
    others = {row.name: median(row.values) for row in table.rows if row.values and row.name != LRTRAIN}
    ours, best = table.median(LRTRAIN), min(others, key=lambda name: others[name], default="PyTorch")
    ratio = others[best] / ours if ours and others else None
    return at_least(f"{table.title}: as fast as {best}", ratio, bound, "times")
