"""Batches that are streamed from the disk, against data that the devices hold."""

from __future__ import annotations

from benchmarks.competitors import EPOCH, Competitor
from benchmarks.options import Options
from benchmarks.table import Row, Table
from benchmarks.targets import Measured, at_most
from benchmarks.workers import interleaved

_HELD, _STREAMED = "held by the devices", "streamed"
COMPETITORS = {_STREAMED: Competitor(".streamed:make_beside_held", EPOCH)}
_ABOUT = (
    "A loop around lrtrain's compiled step, without evaluation, on batches that are read while the steps before run. "
    "Right before and after each such epoch, the loop goes through half of one with the data on the devices, in the "
    "same process. The decoded file is in the system's memory, where its check at the start leaves it."
)


def measure(options: Options) -> Measured:
    """Times a step of an epoch, with the data here and there."""
    outcome = interleaved([_STREAMED], options, __name__)[_STREAMED]
    rows = [
        Row(_HELD, [seconds * 1e3 for seconds in outcome.bare]),
        Row(_STREAMED, [seconds * 1e3 for seconds in outcome.seconds], outcome.missing or ""),
    ]
    table = Table("Streamed data", "ms a step", rows, _ABOUT, _HELD)
    targets = [at_most("a streamed step, of one whose data the devices hold", table.ratio(_STREAMED), 1.1, "times")]
    return Measured([table], targets, targets)
