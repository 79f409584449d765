"""The picture of a learning-rate range test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.figures import COLOURS, legend_of, save, sheet
from lrtrain.workloads.wording import wording

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lrtrain.range_test.curve import Curve
    from lrtrain.range_test.find_lr import RangeTest

# A diverging loss would make the rest of the curve invisible.
_HEADROOM = 1.25


def draw_range_test(test: RangeTest, path: Path) -> None:
    """Writes a picture of losses over learning rates, with the suggestions and the schedule's own highest rate.

    The suffix of the file (``.png``, ``.svg`` or ``.pdf``) decides the format.
    """
    with sheet(8, 5.2) as figure:
        axes = figure.add_subplot()
        _draw_losses(axes, test.curve, wording([test.config.workload]).training_axis)
        for index, suggestion in enumerate(test.suggestions):
            _draw_rate(
                axes,
                suggestion.learning_rate,
                f"{'suggestion' if index == 0 else 'second rule'}, {suggestion.rule}: {suggestion.learning_rate:.2e}",
                (COLOURS[1], "--") if index == 0 else (COLOURS[2], ":"),
                bold=index == 0,
            )
        if test.peak > 0:
            label = f"highest learning rate of {test.spec.name}: {test.peak:.2e}"
            _draw_rate(axes, test.peak, label, (COLOURS[3], "-."), bold=False)
        lines = axes.get_lines()
        legend_of(figure, lines, [str(line.get_label()) for line in lines])
        save(figure, path)


def _draw_losses(axes: Axes, curve: Curve, title: str) -> None:
    axes.set_xscale("log")
    marker = "o" if len(curve.losses) == 1 else None
    if marker:
        # Set before the point is drawn: matplotlib warns of an axis without width.
        axes.set_xlim(float(curve.learning_rates[0]) / 2, float(curve.learning_rates[0]) * 2)
    axes.plot(
        curve.learning_rates, curve.losses, color="0.65", linewidth=0.9, marker=marker, label="loss of each batch"
    )
    axes.plot(
        curve.smoothed_learning_rates, curve.smoothed_losses, color=COLOURS[0], linewidth=2.4, label="smoothed loss"
    )
    axes.set(xlabel="learning rate", ylabel=title)
    axes.set_ylim(0, _HEADROOM * (float(np.max(curve.smoothed_losses[: curve.lowest + 1])) or 1.0))
    axes.grid(alpha=0.25)


def _draw_rate(axes: Axes, rate: float, label: str, look: tuple[str, str], *, bold: bool) -> None:
    colour, style = look
    axes.axvline(rate, color=colour, linestyle=style, linewidth=2.0 if bold else 1.4, label=label)
    if bold:
        axes.annotate(
            f"{rate:.2e}",
            (rate, 1),
            xycoords=("data", "axes fraction"),
            xytext=(5, -14),
            textcoords="offset points",
            color=colour,
            fontweight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
        )
