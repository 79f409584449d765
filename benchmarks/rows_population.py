"""Several runs in one program, against one run on all devices."""

from __future__ import annotations

from benchmarks.competitors import Competitor
from benchmarks.options import Options
from benchmarks.table import Row, Table
from benchmarks.targets import Measured
from benchmarks.workers import interleaved

_ONE = "one run on all devices"
COMPETITORS = {
    _ONE: Competitor(".bare_loop:make", 16),
    "population of 1": Competitor(".populations:make_1", 16),
    "population of 8": Competitor(".populations:make_8", 4),
    "population of 32": Competitor(".populations:make_32", 4),
}


def measure(options: Options) -> Measured:
    """Times a step of a run, alone and among others."""
    names = list(COMPETITORS)[: -1 if options.quick else None]
    outcomes = interleaved(names, options, __name__)
    rows = [Row(name, [s * 1e3 for s in each.seconds], each.missing or "") for name, each in outcomes.items()]
    about = (
        "The time of all runs, divided by their steps. On CPU each core trains runs of its own, so a population of 1 "
        "has one core. On an accelerator runs are vmapped in groups; no figures from a GPU are here, none was at hand."
    )
    return Measured([Table("Population", "ms a step of a run", rows, about, _ONE)])
