"""What every target is written from: the pieces of a schedule or its table, and the options that stand by name."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.errors import PluginError
from lrtrain.plugins.context import ScheduleContext
from lrtrain.plugins.formula import Piece, evaluate, parse, spans
from lrtrain.plugins.loading import ActivePlugins
from lrtrain.plugins.spec import Spec
from lrtrain.schedules.export.constants import name_options
from lrtrain.schedules.table import build_table, formula

if TYPE_CHECKING:
    from numpy.typing import NDArray

# As many constant pieces are read more easily than a table.
MAX_RUNS = 32
_PART = 2**20


@dataclass(frozen=True, eq=False)
class Span:
    """One piece, the first step that it holds for, and its expression, in which options stand by name."""

    begin: int
    piece: Piece
    tree: ast.expr

    @property
    def until(self) -> int | None:
        """The first step that it no longer holds for; None for the last piece."""
        return self.piece.until


@dataclass(frozen=True, eq=False)
class Source:
    """A schedule, ready to be written for a target.

    Args:
      spec: the plugin with all options resolved.
      values: its table, float32[total_steps].
      spans: its pieces, in whose expressions some options stand by name; None where there is only the table.
      constants: those options, by name.
      has_formula: whether the pieces are the plugin's own formula, not the constant pieces of its table.
    """

    spec: Spec
    values: NDArray[np.float32]
    spans: tuple[Span, ...] | None
    constants: dict[str, float]
    has_formula: bool

    def header(self) -> list[str]:
        """Returns what the code says of where it comes from, in short paragraphs."""
        origin = f"Learning rate over {len(self.values)} steps, written by lrtrain {version('lrtrain')}:"
        note = [] if self.has_formula else ["The plugin has no formula: these are the values of its table."]
        return [origin, str(self.spec), *note]


def make_source(active: ActivePlugins, context: ScheduleContext) -> Source:
    """Returns the schedule of the active plugins, once its formula has been seen to agree with its table.

    Raises:
      PluginError: the formula cannot be used, or gives another learning rate than the schedule at some step.
      ScheduleError: the schedule cannot be built.
    """
    plugin = active.schedule_plugin()
    values = build_table(active, context).values
    pieces = formula(active, context)
    if pieces is None:
        runs = _constant_runs(values)
        return Source(plugin.spec(), values, _spans(runs) if runs else None, {}, has_formula=False)
    _check(pieces, values, plugin.entry.name)
    trees = [parse(piece.expression) for piece in pieces]
    named, constants = name_options(plugin, context, pieces, trees)
    return Source(plugin.spec(), values, _spans(pieces, named), constants, has_formula=True)


def _spans(pieces: Sequence[Piece], trees: Sequence[ast.expr] = ()) -> tuple[Span, ...]:
    trees = trees or [parse(piece.expression) for piece in pieces]
    return tuple(Span(begin, piece, tree) for (begin, piece), tree in zip(spans(pieces), trees, strict=True))


def _check(pieces: Sequence[Piece], values: NDArray[np.float32], name: str) -> None:
    for begin in range(0, len(values), _PART):
        part = values[begin : begin + _PART]
        exact = evaluate(pieces, np.arange(begin, begin + len(part)))
        wrong = ~np.isclose(exact, part, rtol=1e-6, atol=1e-12)
        if wrong.any():
            index = int(np.argmax(wrong))
            raise PluginError(
                f"the formula of plugin '{name}' gives {exact[index]:g} at step {begin + index}, and its schedule "
                f"{part[index]:g}: one of the two is wrong"
            )


def _constant_runs(values: NDArray[np.float32]) -> list[Piece] | None:
    """Returns a table of few different values as constant pieces; None when they are too many."""
    ends = [*(np.flatnonzero(np.diff(values)) + 1).tolist(), None]
    if len(ends) > MAX_RUNS:
        return None
    begins = [0, *ends[:-1]]
    return [Piece(end, str(values[begin])) for begin, end in zip(begins, ends, strict=True)]
