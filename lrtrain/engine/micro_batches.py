"""How many examples a CPU core takes at once, by what a network computes."""

from __future__ import annotations

import math

from lrtrain.engine.tracing import Traced

# Bytes of the largest result of an operation, with convolutions and without: those are fastest with 8 to 16 examples
# of 100 to 220 KiB, transformers with 2 to 4 of 256 KiB (benchmarks/NOTES.md, "Micro-batches").
_CPU_CACHE = {True: 2**21, False: 2**19}
# Each micro-batch reads the parameters and adds to their gradients, so it is no smaller than they are by much.
_OF_PARAMETERS = 1 / 3


def examples_at_once(facts: Traced) -> int:
    """Returns how many examples a core takes at once."""
    held = max(_CPU_CACHE[facts.convolves], _OF_PARAMETERS * facts.parameter_bytes)
    return 1 << max(0, math.floor(math.log2(held / max(1, facts.largest))))
