"""Pictures of final accuracies: one schedule beside another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.figures import COLOURS
from lrtrain.report.names import short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from lrtrain.comparison.evidence import RowResult
    from lrtrain.report.numbers import Differences

_FINE = 0.005
_MARKS = {"better": " *", "worse": " *", "tie": ""}


def plot_accuracies(
    figure: Figure, rows: Sequence[RowResult], finals: Mapping[str, NDArray[np.float64]], baseline: str | None
) -> None:
    """Draws a row for each schedule, the first on top: every seed, their mean, and its interval.

    Args:
      figure: where to.
      rows: the results of each schedule.
      finals: float64[seeds] for each label.
      baseline: the label that the others were measured against.
    """
    axes = figure.subplots()
    for place, row in enumerate(rows):
        if math.isfinite(row.accuracy.mean):
            _row(axes, place, row, 100 * finals[row.label])
        else:
            axes.text(0.02, place, row.problem or "no result", transform=axes.get_yaxis_transform(), va="center",
                      fontsize="small", parse_math=False)  # fmt: skip
    names = [short_name(row.label) + (" (reference)" if row.label == baseline else "") for row in rows]
    axes.set_yticks(range(len(rows)), names, parse_math=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    several = any(len(finals[row.label]) > 1 for row in rows)
    what = "accuracy after the last step (percent)"
    axes.set_xlabel(f"{what}: each seed, their mean and its 95% interval" if several else what)
    axes.grid(axis="x", alpha=0.25)


def _row(axes: Axes, place: int, row: RowResult, values: NDArray[np.float64]) -> None:
    good = values[np.isfinite(values)]
    summary = row.accuracy
    axes.plot(good, np.full(len(good), place + 0.18), "|", color="0.55", markersize=9, markeredgewidth=1.2)
    if math.isfinite(summary.low):
        axes.hlines(place, 100 * summary.low, 100 * summary.high, color=COLOURS[0], linewidth=2.6)
    axes.plot(100 * summary.mean, place, "o", color=COLOURS[0], markersize=8)
    if summary.diverged:
        axes.annotate(f"{summary.diverged} diverged", (100 * summary.mean, place), (8, 7), textcoords="offset points",
                      fontsize="x-small", color=COLOURS[1])  # fmt: skip


def plot_differences(figure: Figure, differences: Differences) -> None:
    """Draws row less column in points of accuracy; a star marks a pair of which better or worse was concluded."""
    points, labels = 100 * differences.means, differences.labels
    axes = figure.subplots()
    largest = max(_FINE, float(np.nanmax(np.abs(points), initial=0.0, where=np.isfinite(points))))
    # Colour-blind readers can distinguish orange and violet; in grey the sign of the number does.
    image = axes.imshow(points, cmap="PuOr", vmin=-largest, vmax=largest)
    small = "small" if len(labels) <= 8 else "xx-small"
    for (i, j), value in np.ndenumerate(points):
        if math.isfinite(value):
            mark = _MARKS[differences.verdicts.get((labels[i], labels[j]), "tie")]
            dark = abs(value) > 0.6 * largest
            axes.text(j, i, f"{value:+.2f}{mark}", ha="center", va="center", fontsize=small,
                      fontweight="bold" if mark else None, color="white" if dark else "black")  # fmt: skip
    names = [short_name(label) for label in labels]
    axes.set_xticks(range(len(labels)), names, rotation=40, ha="right", parse_math=False)
    axes.set_yticks(range(len(labels)), names, parse_math=False)
    bar = figure.colorbar(image, ax=axes, shrink=0.85)
    bar.set_label("row minus column (points of accuracy)")
    axes.set_title("mean over paired seeds; * better or worse by interval and test", fontsize="small", loc="left")
