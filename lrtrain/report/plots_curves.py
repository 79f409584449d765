"""Pictures over steps and over learning-rate scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.figures import Look, legend_of, look
from lrtrain.report.curves import quartiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import NullLocator
    from numpy.typing import NDArray

    from lrtrain.report.curves import Curves
    from lrtrain.report.numbers import Tuning

_WIDTH, _MARKER = 1.8, 5


def plot_training(figure: Figure, curves: Sequence[Curves]) -> None:
    """Draws loss and accuracy over steps: the median of the runs, and a band over their middle half."""
    where = curves[0].measured_on
    left, right = figure.subplots(1, 2)
    for index, each in enumerate(curves):
        _band(left, each.steps, each.losses, look(index))
        _band(right, each.steps, 100 * each.accuracies, look(index))
    left.set(ylabel=f"{where} loss (mean cross-entropy)")
    right.set(ylabel=f"{where} accuracy (percent)")
    for axes in (left, right):
        axes.set_xlabel("step (optimizer updates)")
        axes.set_xlim(0, 1.03 * max(int(each.steps[-1]) for each in curves))
        axes.grid(alpha=0.25)
    legend_of(figure, left.get_lines(), [each.label for each in curves])


def _band(axes: Axes, steps: NDArray[np.int64], values: NDArray[np.float64], line: Look) -> None:
    """Draws the median and the quartiles of float64[runs, epochs]."""
    low, middle, high = quartiles(values)
    axes.plot(steps, middle, line.style, color=line.colour, marker=line.marker, linewidth=_WIDTH, markersize=_MARKER)
    if len(values) > 1:
        axes.fill_between(steps, low, high, color=line.colour, alpha=0.15, linewidth=0)


def plot_basins(figure: Figure, tunings: Sequence[Tuning]) -> None:
    """Draws what the tuning has seen over learning-rate scales, with the chosen scale of each schedule ringed."""
    left, right = figure.subplots(1, 2)
    lines = []
    for index, each in enumerate(tunings):
        lines.append(_basin(left, each, 100 * each.accuracies, look(index)))
        _basin(right, each, each.losses, look(index), diverged_at=0.985)
    left.set(ylabel="validation accuracy (percent)")
    right.set(ylabel="validation loss (mean cross-entropy)")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda scale, _: f"{scale:.3g}")
        axes.xaxis.set_minor_locator(_nowhere())
        axes.set_xlabel("factor on the learning rate")
        axes.grid(alpha=0.25)
    legend_of(figure, lines, [each.label for each in tunings], note="ringed: chosen.  x at the edge: a run diverged")


def _nowhere() -> NullLocator:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _basin(axes: Axes, tuning: Tuning, values: NDArray[np.float64], line: Look, diverged_at: float = 0.015) -> Line2D:
    """Draws the median over seeds, every seed as a faint dot, and a cross at an edge where one has diverged."""
    bad = ~np.isfinite(values).all(axis=1)
    middle = np.where(bad, np.nan, np.median(values, axis=1))
    (drawn,) = axes.plot(
        tuning.scales, middle, line.style, color=line.colour, marker=line.marker, linewidth=_WIDTH, markersize=_MARKER
    )
    axes.plot(tuning.scales, values, linestyle="none", color=line.colour, marker=".", markersize=4, alpha=0.45)
    edge = np.full(bad.sum(), diverged_at)
    axes.plot(tuning.scales[bad], edge, "x", color=line.colour, transform=axes.get_xaxis_transform(), zorder=4)
    best = middle[tuning.scales == tuning.chosen]
    axes.plot([tuning.chosen], best, "o", color=line.colour, markersize=12, fillstyle="none", markeredgewidth=1.6)
    return drawn
