"""Batches that are streamed from the files, against data that the devices hold."""

from __future__ import annotations

from benchmarks.competitors import EPOCH, Competitor
from benchmarks.options import Options
from benchmarks.table import Row, Table
from benchmarks.targets import Measured
from benchmarks.workers import interleaved

_KEPT = "held by the devices"
COMPETITORS = {
    _KEPT: Competitor(".bare_loop:make", EPOCH),
    "streamed with Grain": Competitor(".streamed:make", EPOCH, ("grain",)),
}


def measure(options: Options) -> Measured:
    """Times a step of an epoch, with the data here and there."""
    outcomes = interleaved(list(COMPETITORS), options, __name__)
    rows = [Row(name, [s * 1e3 for s in each.seconds], each.missing or "") for name, each in outcomes.items()]
    about = "A loop around lrtrain's compiled step over an epoch, without evaluation; reading is overlapped with it."
    return Measured([Table("Streamed data", "ms a step", rows, about, _KEPT)])
