"""A training step of workloads that ship, against the same in PyTorch."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from benchmarks.competitors import EPOCH, Competitor
from benchmarks.options import ROOT, Options, environment
from benchmarks.table import Row, Table
from benchmarks.targets import Measured, Target, at_least
from benchmarks.workers import Outcome, interleaved
from benchmarks.workload_problem import CHAR_LM, RESNET, SETTINGS, Setting

_LRTRAIN = "lrtrain"
_NEEDS = ("torch",)
_OF = {
    RESNET: {
        _LRTRAIN: Competitor(".workload_run:make_resnet", EPOCH),
        "PyTorch eager": Competitor(".torch_workloads:make_resnet", 10, _NEEDS),
        "PyTorch channels_last": Competitor(".torch_workloads:make_resnet_channels_last", 10, _NEEDS),
        "PyTorch channels_last, fused SGD": Competitor(".torch_workloads:make_resnet_fused", 10, _NEEDS),
    },
    CHAR_LM: {
        _LRTRAIN: Competitor(".workload_run:make_char_lm", EPOCH),
        "PyTorch eager": Competitor(".torch_workloads:make_char_lm", 20, _NEEDS),
        "PyTorch, fused AdamW": Competitor(".torch_workloads:make_char_lm_fused", 20, _NEEDS),
    },
}
COMPETITORS = {f"{workload}: {name}": each for workload, named in _OF.items() for name, each in named.items()}
_TOLERANCE = 1e-4


def measure(options: Options) -> Measured:
    """Times the competitors of each workload in turn."""
    command = [sys.executable, "-m", "benchmarks.workload_problem", str(options.directory), *SETTINGS]
    subprocess.run(command, check=True, cwd=ROOT, env=environment(options.directory))
    tables = [_table(workload, options) for workload in _OF]
    return Measured(tables, [target for table in tables for target in _targets(table)])


def _table(workload: str, options: Options) -> Table:
    outcomes = interleaved([f"{workload}: {name}" for name in _OF[workload]], options, __name__, anew=True)
    expected = outcomes[f"{workload}: {_LRTRAIN}"].loss
    rows = [_row(name, outcomes[f"{workload}: {name}"], expected) for name in _OF[workload]]
    return Table(f"Workload {workload}", "ms a step", rows, _about(SETTINGS[workload]), _LRTRAIN)


def _row(name: str, outcome: Outcome, expected: float | None) -> Row:
    """Returns a row; a competitor with other losses has no figures."""
    if outcome.missing or outcome.loss is None:
        return Row(name, note=outcome.missing or "it gave no loss")
    if expected is None or abs(outcome.loss / expected - 1) > _TOLERANCE:
        return Row(name, note=f"trains something else: loss {outcome.loss:.6f} instead of {expected}")
    return Row(name, [seconds * 1e3 for seconds in outcome.seconds], f"loss {outcome.loss:.5f}")


def _about(setting: Setting) -> str:
    drawn = " and ".join(f"{name}={value}" for name, value in setting.options.items())
    return (
        f"One optimizer update, batch {setting.batch}, with the workload's network, loss and optimizer, and {drawn}, "
        "for nothing may be drawn at random where losses are compared. "
        f"`{_LRTRAIN}` is all of `lrtrain.train`, an epoch of {setting.examples} examples without its evaluation. The "
        "others begin with the same weights and have the same order of examples; the mean loss of the first two steps, "
        f"in the note, agrees within {_TOLERANCE:g}, or there is no figure. Where the network normalises a batch, "
        "PyTorch's sees those two batches in two parts, as lrtrain's two devices do, and the batches that are timed as "
        "a whole."
    )


def _targets(table: Table) -> list[Target]:
    others = {row.name: median(row.values) for row in table.rows if row.values and row.name != _LRTRAIN}
    ours, best = table.median(_LRTRAIN), min(others, key=lambda name: others[name], default="PyTorch")
    ratio = others[best] / ours if ours and others else None
    return [at_least(f"{table.title}: as fast as {best}", ratio, 1.0, "times")]
