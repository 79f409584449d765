"""``--to torch``: a multiplier in plain Python, and PyTorch's LambdaLR with it."""

from __future__ import annotations

from collections.abc import Iterator

from lrtrain.schedules.export.expressions import WIDTH, Dialect, Writer
from lrtrain.schedules.export.pieces import comment, constant_lines, table_lines
from lrtrain.schedules.export.source import ScheduleSource

DIALECT = Dialect(
    {
        "sqrt": "math.sqrt",
        "cos": "math.cos",
        "exp": "math.exp",
        "log": "math.log",
        "floor": "math.floor",
        "minimum": "min",
        "maximum": "max",
    },
    pi="math.pi",
)
_REST = '''
def multiplier(step: int) -> float:
    """Returns what LambdaLR multiplies the optimizer's learning rate by."""
    return learning_rate(step) / BASE_LR


def make_scheduler(optimizer: Optimizer) -> LambdaLR:
    """Returns the scheduler for an optimizer that was made with lr=BASE_LR.

    Call its step() after every optimizer.step(), not once in an epoch.
    """
    return LambdaLR(optimizer, multiplier)
'''


def write(source: ScheduleSource) -> list[str]:
    """Returns the lines of a module with a multiplier and the scheduler that applies it."""
    function = list(_function(source))
    needs_math = any("math." in line for line in function)
    return [
        *comment(source),
        "",
        *(["import math", ""] if needs_math else []),
        "from torch.optim import Optimizer",
        "from torch.optim.lr_scheduler import LambdaLR",
        "",
        *_numbers(source),
        *function,
        "",
        "",
        *_REST.strip().splitlines(),
    ]


def _numbers(source: ScheduleSource) -> Iterator[str]:
    yield "# The highest learning rate: make the optimizer with lr=BASE_LR."
    yield f"BASE_LR = {float(str(source.values.max())) or 1.0!r}"
    if source.spans is None:
        yield from table_lines(source, "torch")
        yield "LEARNING_RATES = [float(value) for value in TABLE.split()]"
    yield from constant_lines(source) if source.constants else ["", ""]


def _function(source: ScheduleSource) -> Iterator[str]:
    yield "def learning_rate(t: int) -> float:"
    yield '    """Returns the learning rate of update t, counted from 0."""'
    if source.spans is None:
        yield "    return LEARNING_RATES[min(t, len(LEARNING_RATES) - 1)]"
    for span in source.spans or ():
        writer, indent = Writer(DIALECT), 4 if span.until is None else 8
        value = writer.text(span.tree, WIDTH - indent - len("return "), indent)
        if span.until is not None:
            yield f"    if t < {span.until}:"
        yield from (f"{' ' * indent}{line}" for line in [*writer.lines, f"return {value}"])
