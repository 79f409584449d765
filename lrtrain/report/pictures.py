"""The pictures of a comparison as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.figures import draw_curves, save, sheet
from lrtrain.report.curves import Curves, curves_of_runs
from lrtrain.report.numbers import by_accuracy, differences, final_accuracies, tunings
from lrtrain.report.plots_curves import plot_basins, plot_training
from lrtrain.report.plots_results import plot_accuracies, plot_differences

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lrtrain.comparison.evidence import Evidence
    from lrtrain.comparison.result import Comparison
    from lrtrain.runs.reading import Logged

SUFFIXES = (".png", ".svg")
_LINE_OF_LEGEND = 0.19


def write_pictures(
    comparison: Comparison, evidence: Evidence, runs: Mapping[str, Sequence[Logged]], directory: Path
) -> list[Path]:
    """Writes all pictures of a comparison that there is something to draw for, each as PNG and SVG.

    Args:
      comparison: the comparison.
      evidence: what it says.
      runs: those that are reported, as `lrtrain.report.curves.measured_runs` reads them.
      directory: where to; it is made.

    Returns:
      The files: ``learning-rates``, ``validation``, ``accuracy``, ``basin`` and ``differences``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    curves = list(starmap(curves_of_runs, runs.items()))
    if curves:
        rates = {each.label: each.learning_rates.astype(np.float32) for each in curves}
        for path in _files(directory, "learning-rates"):
            draw_curves(rates, path, curves[0].steps_per_epoch)
            written.append(path)
    for name, size, draw in _drawings(comparison, evidence, curves):
        for path in _files(directory, name):
            with sheet(*size) as figure:
                draw(figure)
                save(figure, path)
            written.append(path)
    return written


def _files(directory: Path, name: str) -> list[Path]:
    return [directory / f"{name}{suffix}" for suffix in SUFFIXES]


def _drawings(
    comparison: Comparison, evidence: Evidence, curves: list[Curves]
) -> Iterator[tuple[str, tuple[float, float], Callable[[Figure], None]]]:
    count = len(evidence.rows)
    below = _LINE_OF_LEGEND * count
    if curves:
        yield "validation", (10, 4.2 + below), lambda figure: plot_training(figure, curves)
    rows, finals = by_accuracy(evidence), final_accuracies(comparison)
    fair = comparison.plan.protocol == "fair"
    baseline = evidence.baseline if fair else None
    yield "accuracy", (8, 1.4 + 0.42 * count), lambda figure: plot_accuracies(figure, rows, finals, baseline)
    tuned = tunings(comparison)
    if any(np.isfinite(each.losses).any() for each in tuned):
        yield "basin", (10, 4.4 + below), lambda figure: plot_basins(figure, tuned)
    pairs = differences(comparison, evidence)
    if fair and len(pairs.labels) > 1:
        yield "differences", (4 + 0.6 * count, 3 + 0.5 * count), lambda figure: plot_differences(figure, pairs)
