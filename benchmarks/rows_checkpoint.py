"""The delay of training by a checkpoint."""

from __future__ import annotations

from benchmarks.competitors import Competitor
from benchmarks.options import Options
from benchmarks.table import Row, Table
from benchmarks.targets import Measured, at_most
from benchmarks.workers import interleaved

_EPOCH, _BLOCKED, _DELAY = "an epoch without", "a save, until it returns", "delay by a save"
COMPETITORS = {
    _EPOCH: Competitor(".checkpoints:make_epoch", 2),
    _BLOCKED: Competitor(".checkpoints:make_blocked", 2),
    _DELAY: Competitor(".checkpoints:make_delay", 2),
}


def measure(options: Options) -> Measured:
    """Times an epoch, a save, and steps with a save and without."""
    outcomes = interleaved(list(COMPETITORS), options, __name__)
    rows = [Row(name, [s * 1e3 for s in each.seconds], each.missing or "") for name, each in outcomes.items()]
    about = (
        "An epoch is the time of 32 steps, reckoned up to 235. A save is a copy of the arrays, for which the next "
        "steps wait, and a call of Orbax, which goes on in the background; its time here is that of one right after "
        "the other. lrtrain sends the next steps in between: the delay is the time of a save and 32 steps less that of "
        "the 32 before."
    )
    table = Table("Checkpoints", "ms", rows, about)
    epoch, delay = table.median(_EPOCH), table.median(_DELAY)
    share = delay / epoch * 100 if epoch and delay is not None else None
    return Measured([table], [at_most("delay by a checkpoint, of an epoch", share, 1, "%")])
