"""What the targets share: the comment on top, constants, the table as text, and the choice among pieces over arrays."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable

import numpy as np

from lrtrain.errors import UsageError
from lrtrain.schedules.export.expressions import WIDTH, Dialect, Writer, bounded, names
from lrtrain.schedules.export.source import ScheduleSource, Span

# About 200 kB of numbers, the most that a source file should hold.
MAX_TABLE = 20_000
_SAMPLES = 65


def comment(source: ScheduleSource) -> list[str]:
    """Returns where the code comes from, as comments."""
    return [
        f"# {line}"
        for paragraph in source.header()
        for line in textwrap.wrap(paragraph, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    ]


def constant_lines(source: ScheduleSource) -> list[str]:
    """Returns the options that the expressions use, one assignment each."""
    lines = [f"{name.upper()} = {value}" for name, value in source.constants.items()]
    return [*lines, "", ""] if lines else [""]


def table_lines(source: ScheduleSource, target: str) -> list[str]:
    """Returns the table as a text of numbers, which stays compact however the file is formatted.

    Raises:
      UsageError: it is too long for code.
    """
    if len(source.values) > MAX_TABLE:
        raise UsageError(
            f"plugin '{source.spec.name}' has no formula, and its table of {len(source.values)} steps is too long for "
            f"the code that --to {target} writes (at most {MAX_TABLE}): take --to csv"
        )
    return ['TABLE = """', *textwrap.wrap(" ".join(map(str, source.values)), WIDTH), '"""']


def select(source: ScheduleSource, dialect: Dialect, function: str, step: str, indent: int) -> list[str]:
    """Returns the lines that choose among the pieces by ``function(conditions, values, default)``, all computed.

    Args:
      source: the schedule, in pieces of which there are at least two.
      dialect: how the target writes the parts of a formula.
      function: the target's name of `numpy.select`.
      step: the variable that is compared with the ends of pieces.
      indent: spaces before a line.
    """
    spans, writer = source.spans or (), Writer(dialect)
    trees = [_defined_everywhere(span, len(source.values)) for span in spans]
    width = WIDTH - indent - len("    ,")
    values = [writer.text(tree, width - len("    "), indent) for tree in trees[:-1]]
    default = writer.text(trees[-1], width, indent)
    conditions = [f"{step} < {span.until}" for span in spans[:-1]]
    space = " " * indent
    return [
        *(f"{space}{line}" for line in writer.lines),
        f"{space}return {function}(",
        *listed("[", conditions, "],", indent + 4),
        *listed("[", values, "],", indent + 4),
        f"{space}    {default},",
        f"{space})",
    ]


def listed(before: str, items: Iterable[str], after: str, indent: int) -> list[str]:
    """Returns a list in code with one item on each line; the comma after the last one makes formatters keep that."""
    space = " " * indent
    return [f"{space}{before}", *(f"{space}    {item}," for item in items), f"{space}{after}"]


def uses_step(source: ScheduleSource) -> bool:
    """Returns whether any piece depends on the step."""
    return any("t" in names(span.tree) for span in source.spans or ())


def _defined_everywhere(span: Span, total_steps: int) -> ast.expr:
    """Returns the piece's expression; if it is not defined outside of the piece, with the step kept inside.

    All pieces are computed at every step and one is kept, and with ``jax_debug_nans`` none may be NaN.
    """
    before = np.linspace(0, span.begin - 1, _SAMPLES).round() if span.begin else np.array([])
    until = total_steps if span.until is None else span.until
    after = np.linspace(until, max(total_steps, until), _SAMPLES).round()
    tree = span.tree
    if not np.isfinite(span.piece.values(before)).all():
        tree = bounded(tree, lambda step: _call("maximum", step, span.begin))
    if span.until is not None and not np.isfinite(span.piece.values(after)).all():
        tree = bounded(tree, lambda step: _call("minimum", step, until - 1))
    return tree


def _call(function: str, step: ast.expr, edge: int) -> ast.expr:
    return ast.Call(ast.Name(function), [step, ast.Constant(edge)], [])
