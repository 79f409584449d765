"""What every target is written from: the pieces of a schedule or its table, and the options that the code names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.errors import PluginError
from lrtrain.plugins.context import ScheduleContext
from lrtrain.plugins.formula import Piece, evaluate
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
class ScheduleSource:
    """A schedule, ready to be written: its pieces, or its table alone, and the options that the pieces name.

    They are the pieces of the plugin's formula or, where it has none, of a table that changes seldom.
    """

    spec: Spec
    values: NDArray[np.float32]
    pieces: Sequence[Piece] | None
    constants: dict[str, float]
    has_formula: bool


def make_source(active: ActivePlugins, context: ScheduleContext) -> ScheduleSource:
    """Returns the schedule of the active plugins; PluginError where its formula gives another learning rate."""
    plugin = active.schedule_plugin()
    values = build_table(active, context).values
    pieces = formula(active, context)
    if pieces is None:
        return ScheduleSource(plugin.spec(), values, _constant_runs(values), {}, has_formula=False)
    _check(pieces, values, plugin.entry.name)
    # A piece of another plugin's formula has numbers for that plugin's options.
    own = [piece if piece.plugin is plugin.instance else piece.shifted(0) for piece in pieces]
    used = {name for piece in own for name in names(piece.tree())}
    options = Piece(None, "t", plugin.instance).options()
    constants = {name: value for name, value in options.items() if name in used}
    return ScheduleSource(plugin.spec(), values, own, constants, has_formula=True)


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
