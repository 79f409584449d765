"""What every target is written from: the pieces of a schedule or its table, and the options that the code names."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.errors import PluginError
from lrtrain.plugins.context import ScheduleContext
from lrtrain.plugins.formula import Piece, evaluate, spans
from lrtrain.plugins.loading import ActivePlugins
from lrtrain.plugins.spec import Spec
from lrtrain.schedules.export.expressions import names
from lrtrain.schedules.table import build_table, formula

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Up to this number, constant pieces are easier to read than a table.
MAX_RUNS = 32
_PART = 2**20


@dataclass(frozen=True, eq=False)
class Span:
    """One piece, and the first step that it holds for."""

    begin: int
    piece: Piece

    @property
    def tree(self) -> ast.expr:
        """Its expression, with the names of options."""
        return self.piece.tree()

    @property
    def until(self) -> int | None:
        """The first step that it no longer holds for; None for the last piece."""
        return self.piece.until


@dataclass(frozen=True, eq=False)
class ScheduleSource:
    """A schedule, ready to be written for a target.

    Args:
      spec: the plugin with all options resolved.
      values: its table, float32[total_steps].
      spans: its pieces; None where there is only the table.
      constants: the options that their expressions name.
      has_formula: whether the pieces are the plugin's own formula, not the constant pieces of its table.
    """

    spec: Spec
    values: NDArray[np.float32]
    spans: tuple[Span, ...] | None
    constants: dict[str, float]
    has_formula: bool

    def header(self) -> list[str]:
        """Returns the origin of the code in short paragraphs, for its first comment."""
        origin = f"Learning rate over {len(self.values)} steps, written by lrtrain {version('lrtrain')}:"
        note = [] if self.has_formula else ["The plugin has no formula: these are the values of its table."]
        return [origin, str(self.spec), *note]


def make_source(active: ActivePlugins, context: ScheduleContext) -> ScheduleSource:
    """Returns the schedule of the active plugins, after a check that its formula agrees with its table.

    Raises:
      PluginError: the formula cannot be used, or gives another learning rate than the schedule at some step.
      ScheduleError: the schedule cannot be built.
    """
    plugin = active.schedule_plugin()
    values = build_table(active, context).values
    pieces = formula(active, context)
    if pieces is None:
        runs = _constant_runs(values)
        return ScheduleSource(plugin.spec(), values, _spans(runs) if runs else None, {}, has_formula=False)
    _check(pieces, values, plugin.entry.name)
    # A piece of another plugin's formula has numbers for that plugin's options.
    own = [piece if piece.plugin is plugin.instance else piece.shifted(0) for piece in pieces]
    used = {name for piece in own for name in names(piece.tree())}
    options = Piece(None, "t", plugin.instance).options()
    constants = {name: value for name, value in options.items() if name in used}
    return ScheduleSource(plugin.spec(), values, _spans(own), constants, has_formula=True)


def _spans(pieces: Sequence[Piece]) -> tuple[Span, ...]:
    return tuple(Span(begin, piece) for begin, piece in spans(pieces))


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
    """Returns a table that changes seldom as constant pieces; None when these are too many."""
    ends = [*(np.flatnonzero(np.diff(values)) + 1).tolist(), None]
    if len(ends) > MAX_RUNS:
        return None
    begins = [0, *ends[:-1]]
    return [Piece(end, str(values[begin])) for begin, end in zip(begins, ends, strict=True)]
