"""The files that show the result of a comparison: its results as JSON, its pictures, and its page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.comparison.store import Store
from lrtrain.figures import draw_curves, save, sheet
from lrtrain.files import write_whole
from lrtrain.report.comparison_page import page_of_comparison
from lrtrain.report.numbers import (
    by_accuracy,
    curves_of_runs,
    differences,
    final_accuracies,
    measured_runs,
    tunings,
)
from lrtrain.report.page.render import render
from lrtrain.report.plots import plot_accuracies, plot_basins, plot_differences, plot_training

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lrtrain.comparison.result import Comparison
    from lrtrain.runs.reading import Logged


def write_files(comparison: Comparison) -> Store:
    """Writes ``results.json``, ``pictures/`` and ``report.html`` into the directory of a comparison.

    Returns:
      The paths of its files.

    Raises:
      UsageError: plotly is not installed.
    """
    store, results = Store(comparison.directory), comparison.evidence.to_json()
    write_whole(store.results, json.dumps({"about": dict(comparison.about), **results}, indent=2) + "\n")
    runs = measured_runs(comparison)
    store.pictures.mkdir(parents=True, exist_ok=True)
    for name, draw in _pictures(comparison, runs):
        for suffix in (".png", ".svg"):
            draw(store.pictures / f"{name}{suffix}")
    write_whole(store.report, render(page_of_comparison(comparison, runs)))
    return store


def _pictures(
    comparison: Comparison, runs: Mapping[str, Sequence[Logged]]
) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Yields the names of the pictures that there is something to draw for, each with what writes it to a file."""
    count = len(comparison.plan.rows)
    # A line of the legend for each schedule.
    below = 0.19 * count
    curves = list(starmap(curves_of_runs, runs.items()))
    if curves:
        rates = {each.label: each.learning_rates.astype(np.float32) for each in curves}
        yield "learning-rates", lambda path: draw_curves(rates, path, int(curves[0].steps[0]))
        yield "validation", partial(_draw, 10, 4.2 + below, lambda figure: plot_training(figure, curves))
    rows, finals = by_accuracy(comparison), final_accuracies(comparison)
    fair = comparison.plan.protocol == "fair"
    baseline = comparison.evidence.baseline if fair else None
    height = 1.4 + 0.42 * count
    yield "accuracy", partial(_draw, 8, height, lambda figure: plot_accuracies(figure, rows, finals, baseline))
    tuned = tunings(comparison)
    if any(np.isfinite(each.losses).any() for each in tuned):
        yield "basin", partial(_draw, 10, 4.4 + below, lambda figure: plot_basins(figure, tuned))
    pairs = differences(comparison)
    if fair and len(pairs.labels) > 1:
        width, height = 4 + 0.6 * count, 3 + 0.5 * count
        yield "differences", partial(_draw, width, height, lambda figure: plot_differences(figure, pairs))


def _draw(width: float, height: float, plot: Callable[[Figure], None], path: Path) -> None:
    with sheet(width, height) as figure:
        plot(figure)
        save(figure, path)
