"""What the targets share: the comment on top, constants, the table as text, and the choice among pieces over arrays."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from lrtrain.errors import UsageError
from lrtrain.plugins.formula import Piece, rewritten, spans
from lrtrain.schedules.export.expressions import WIDTH, Dialect, Writer, names
from lrtrain.schedules.export.source import ScheduleSource

# About 200 kB of numbers, the most that a source file should hold.
MAX_TABLE = 20_000
_SAMPLES = 65


@dataclass(frozen=True)
class Arrays:
    """How a target computes with arrays of steps.

    Args:
      dialect: how it writes the parts of a formula.
      t: the statement that makes t, of floats, from the count of updates.
      step: the variable that is compared with the ends of pieces, the count or t.
      select: its name of `numpy.select`, which computes all pieces.
      constant: an array of one number, ``{}``, for a schedule that does not depend on the step.
    """

    dialect: Dialect
    t: str
    step: str
    select: str
    constant: str


def comment(source: ScheduleSource) -> list[str]:
    """Returns where the code comes from, as comments."""
    origin = f"Learning rate over {len(source.values)} steps, written by lrtrain {version('lrtrain')}:"
    note = [] if source.has_formula else ["The plugin has no formula: these are the values of its table."]
    return [
        f"# {line}"
        for paragraph in [origin, str(source.spec), *note]
        for line in textwrap.wrap(paragraph, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    ]


def constant_lines(source: ScheduleSource) -> list[str]:
    """Returns the options that the expressions use, one assignment each."""
    lines = [f"{name.upper()} = {value}" for name, value in source.constants.items()]
    return [*lines, "", ""] if lines else [""]


def table_lines(source: ScheduleSource, target: str) -> list[str]:
    """Returns the table as a text, compact however the file is formatted; UsageError where it is too long for code."""
    if len(source.values) > MAX_TABLE:
        raise UsageError(
            f"plugin '{source.spec.name}' has no formula, and its table of {len(source.values)} steps is too long for "
            f"the code that --to {target} writes (at most {MAX_TABLE}): take --to csv"
        )
    return ['TABLE = """', *textwrap.wrap(" ".join(map(str, source.values)), WIDTH), '"""']


def over_arrays(source: ScheduleSource, arrays: Arrays, indent: int) -> list[str]:
    """Returns the body of a function of the count of updates that returns the learning rate from the pieces."""
    pieces, writer = source.pieces or (), Writer(arrays.dialect)
    uses_t = any("t" in names(piece.tree()) for piece in pieces)
    if len(pieces) > 1:
        answer = _selected(source, arrays, writer, indent)
        uses_t |= arrays.step == "t"
    else:
        answer_of = "return {}" if uses_t else f"return {arrays.constant}"
        width = WIDTH - indent - len(answer_of.format(""))
        answer = [answer_of.format(writer.text(pieces[0].tree(), width, indent))]
    lines = [*([arrays.t] if uses_t else []), *writer.lines, *answer]
    return [f"{' ' * indent}{line}" for line in lines]


def _selected(source: ScheduleSource, arrays: Arrays, writer: Writer, indent: int) -> list[str]:
    pieces = source.pieces or ()
    trees = [_defined_everywhere(begin, piece, len(source.values)) for begin, piece in spans(pieces)]
    width = WIDTH - indent - len("    ,")
    values = [writer.text(tree, width - len("    "), indent) for tree in trees[:-1]]
    conditions = [f"{arrays.step} < {piece.until}" for piece in pieces[:-1]]
    return [
        f"return {arrays.select}(",
        *listed("[", conditions, "],", 4),
        *listed("[", values, "],", 4),
        f"    {writer.text(trees[-1], width, indent)},",
        ")",
    ]


def listed(before: str, items: Iterable[str], after: str, indent: int) -> list[str]:
    """Returns a list in code with one item on each line; the comma after the last one makes formatters keep that."""
    space = " " * indent
    return [f"{space}{before}", *(f"{space}    {item}," for item in items), f"{space}{after}"]


def _defined_everywhere(begin: int, piece: Piece, total_steps: int) -> ast.expr:
    """Returns the piece's expression; if it is not defined outside of the piece, with the step kept inside.

    All pieces are computed at every step and one is kept, and with ``jax_debug_nans`` none may be NaN.
    """
    before = np.linspace(0, begin - 1, _SAMPLES).round() if begin else np.array([])
    until = total_steps if piece.until is None else piece.until
    after = np.linspace(until, max(total_steps, until), _SAMPLES).round()
    tree = piece.tree()
    if not np.isfinite(piece.values(before)).all():
        tree = _bounded(tree, "maximum", begin)
    if piece.until is not None and not np.isfinite(piece.values(after)).all():
        tree = _bounded(tree, "minimum", until - 1)
    return tree


def _bounded(tree: ast.expr, function: str, edge: int) -> ast.expr:
    """Returns the expression with ``function(t, edge)`` in place of t."""

    def bound(node: ast.expr) -> ast.expr | None:
        is_step = isinstance(node, ast.Name) and node.id == "t"
        return ast.Call(ast.Name(function), [node, ast.Constant(edge)], []) if is_step else None

    return rewritten(tree, bound)
