"""One device against all of them."""

from __future__ import annotations

from benchmarks.competitors import Competitor
from benchmarks.options import Options
from benchmarks.table import Row, Table
from benchmarks.targets import Measured
from benchmarks.workers import interleaved
from lrtrain.host import usable_cores

_ONE, _ALL = "1 device", "all devices"
COMPETITORS = {
    _ONE: Competitor(".bare_loop:make_one_device", 20),
    _ALL: Competitor(".bare_loop:make", 20),
}


def measure(options: Options) -> Measured:
    """Times the compiled step on one device and on all."""
    outcomes = interleaved(list(COMPETITORS), options, __name__)
    rows = [Row(name, [s * 1e3 for s in each.seconds], each.missing or "") for name, each in outcomes.items()]
    about = (
        f"The compiled step on the devices of a machine with {usable_cores()} usable cores; on CPU there is a device "
        "for each core, and one alone uses some of the idle core too."
    )
    return Measured([Table("Devices", "ms a step", rows, about, _ONE)])
