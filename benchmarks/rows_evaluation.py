"""Evaluation of the test set."""

from __future__ import annotations

from benchmarks.competitors import Competitor
from benchmarks.options import Options
from benchmarks.table import Row, Table
from benchmarks.targets import Measured
from benchmarks.workers import interleaved

_LRTRAIN = "lrtrain"
COMPETITORS = {
    _LRTRAIN: Competitor(".evaluation:make", 2),
    "jitted, batch after batch": Competitor(".evaluation:make_jitted", 2),
}


def measure(options: Options) -> Measured:
    """Times lrtrain's evaluation and a plain one."""
    outcomes = interleaved(list(COMPETITORS), options, __name__)
    rows = [
        Row(name, [s * 1e3 for s in each.seconds], each.missing or f"loss {each.loss:.5f}")
        for name, each in outcomes.items()
    ]
    about = (
        "Mean loss of the initial weights over the 10,000 images of the test set (lrtrain's gives the accuracy too)."
    )
    return Measured([Table("Evaluation", "ms", rows, about, _LRTRAIN)])
