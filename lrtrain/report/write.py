"""The files that show the result of a comparison: its results as JSON, its pictures, and its page."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.comparison.store import Store
from lrtrain.comparison.verdict import evidence_as_json
from lrtrain.figures import COLOURS, Look, draw_curves, legend_of, look, save, sheet
from lrtrain.files import write_whole
from lrtrain.report import numbers
from lrtrain.report.comparison_page import page_of_comparison
from lrtrain.report.numbers import quartiles, short_name
from lrtrain.report.page.render import render
from lrtrain.runs.directory import refusals_named
from lrtrain.workloads.headline import Headline
from lrtrain.workloads.wording import Wording, wording

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from numpy.typing import NDArray

    from lrtrain.comparison.evidence import Evidence, RowResult
    from lrtrain.comparison.result import Comparison
    from lrtrain.report.numbers import Curves, Differences, Tuning

    # A name, the width and height in inches, and what draws.
    Picture = tuple[str, float, float, Callable[[Figure], None]]


# Of the span from the best mean of a tuning to the middle one.
_SHOWN = 4


def write_results(comparison: Comparison) -> Store:
    """Writes ``results.json``, ``pictures/`` and ``report.html`` into the directory of a comparison, over earlier ones.

    Returns:
      The paths of its files.

    Raises:
      TrainingError: the directory cannot be written; the runs are kept.
    """
    store, results = Store(comparison.directory), evidence_as_json(comparison.evidence)
    with refusals_named(store.path):
        write_whole(store.results, json.dumps({"about": dict(comparison.about), **results}, indent=2) + "\n")
        runs = numbers.measured_runs(comparison)
        store.pictures.mkdir(parents=True, exist_ok=True)
        curves = [numbers.curves_of_runs(label, each, comparison.headline) for label, each in runs.items()]
        pictures = list(_pictures(comparison, curves))
        for suffix in (".png", ".svg"):
            if curves:
                rates = {each.label: each.learning_rates.astype(np.float32) for each in curves}
                draw_curves(rates, store.pictures / f"learning-rates{suffix}", int(curves[0].steps[0]))
            for name, width, height, draw in pictures:
                with sheet(width, height) as figure:
                    draw(figure)
                    save(figure, store.pictures / f"{name}{suffix}")
        write_whole(store.report, render(page_of_comparison(comparison, runs)))
    return store


def _pictures(comparison: Comparison, curves: Sequence[Curves]) -> Iterator[Picture]:
    """Yields the pictures, but that of learning rates, that there is something to draw for."""
    count, headline = len(comparison.plan.rows), comparison.headline
    words = wording([comparison.plan.train.workload])
    # A line of the legend for each schedule.
    below = 0.19 * count
    if curves:
        yield "validation", 10, 4.2 + below, lambda figure: _plot_training(figure, curves, headline, words)
    rows, finals = numbers.by_score(comparison.evidence), numbers.final_scores(comparison)
    fair = comparison.plan.protocol == "fair"
    baseline = comparison.evidence.baseline if fair else None
    yield headline.figure, 8, 1.4 + 0.42 * count, lambda figure: _plot_scores(figure, rows, finals, baseline, headline)
    tuned = numbers.tunings(comparison)
    if any(np.isfinite(each.losses).any() for each in tuned):
        yield "basin", 10, 4.4 + below, lambda figure: _plot_basins(figure, tuned, headline, words)
    pairs = numbers.differences(comparison.evidence, comparison.standing.results)
    if fair and len(pairs.labels) > 1:
        yield "differences", 4 + 0.6 * count, 3 + 0.5 * count, lambda figure: _plot_differences(figure, pairs, headline)


def draw_scores(evidence: Evidence, finals: Mapping[str, NDArray[np.float64]], title: str | None, output: Path) -> None:
    """Draws every result (float64[runs] by label), the means and their intervals into a .png or .svg file."""
    with sheet(8, 1.4 + 0.42 * len(evidence.rows)) as figure:
        _plot_scores(figure, numbers.by_score(evidence), finals, evidence.baseline or None, evidence.headline)
        figure.axes[0].set_xlabel(evidence.headline.axis(), parse_math=False)
        if title:
            figure.axes[0].set_title(title, parse_math=False)
        save(figure, output)


def _plot_training(figure: Figure, curves: Sequence[Curves], headline: Headline, words: Wording) -> None:
    """Draws loss and headline over steps: the median of the runs, and a band over their middle half."""
    where = curves[0].measured_on
    left, *others = panels = _panels(figure, headline)
    for index, each in enumerate(curves):
        _band(left, each.steps, each.losses, look(index))
        for axes in others:
            _band(axes, each.steps, headline.factor * each.scores, look(index))
    left.set(ylabel=f"{where} {words.loss_axis}")
    for axes in others:
        axes.set_ylabel(f"{where} {headline.axis()}", parse_math=False)
    for axes in panels:
        axes.set_xlabel("step (optimizer updates)")
        axes.set_xlim(0, 1.03 * max(int(each.steps[-1]) for each in curves))
        axes.grid(alpha=0.25)
    legend_of(figure, left.get_lines(), [each.label for each in curves])


def _panels(figure: Figure, headline: Headline) -> list[Axes]:
    """Returns axes side by side for the loss and the headline; one where these are the same."""
    return [*figure.subplots(1, 1 if headline.is_loss else 2, squeeze=False).flat]


def _band(axes: Axes, steps: NDArray[np.int64], values: NDArray[np.float64], line: Look) -> None:
    """Draws the median and the quartiles of float64[runs, epochs]."""
    low, middle, high = quartiles(values)
    _line(axes, steps, middle, line)
    if len(values) > 1:
        axes.fill_between(steps, low, high, color=line.colour, alpha=0.15, linewidth=0)


def _line(axes: Axes, x: NDArray[np.int64] | NDArray[np.float64], y: NDArray[np.float64], line: Look) -> Line2D:
    (drawn,) = axes.plot(x, y, line.style, color=line.colour, marker=line.marker, linewidth=1.8, markersize=5)
    return drawn


def _plot_basins(figure: Figure, tunings: Sequence[Tuning], headline: Headline, words: Wording) -> None:
    """Draws what the tuning has seen over the highest learning rate, with that of each schedule ringed."""
    *others, right = panels = _panels(figure, headline)
    lines = []
    # Where it is worst.
    failed_at = {1: 0.015, -1: 0.985}
    for index, each in enumerate(tunings):
        values, at = headline.factor * each.scores, failed_at[headline.sign]
        drawn = [_basin(axes, each, values, look(index), at) for axes in others]
        lines.append([*drawn, _basin(right, each, each.losses, look(index), failed_at[-1])][0])
    for axes in others:
        axes.set_ylabel(f"validation {headline.axis()}", parse_math=False)
        _close_up(axes, [headline.factor * each.means(each.scores) for each in tunings], headline.sign)
    right.set(ylabel=f"validation {words.loss_axis}")
    _close_up(right, [each.means(each.losses) for each in tunings], -1)
    for axes in panels:
        axes.set_xscale("log")
        axes.set_xlabel("highest learning rate of the schedule")
        axes.grid(alpha=0.25)
    legend_of(
        figure,
        lines,
        [each.label for each in tunings],
        note="ringed: chosen.  x: a run failed or is far off",
    )


def _close_up(axes: Axes, means: Sequence[NDArray[np.float64]], sign: int) -> None:
    """Limits the height to where most means are: beside one that has collapsed, the others would be a line."""
    known = sign * np.concatenate(means)
    known = known[np.isfinite(known)]
    if len(known) and (span := known.max() - np.median(known)) > 0:
        least, most = max(known.min(), known.max() - _SHOWN * span), known.max()
        room = 0.08 * (most - least)
        axes.set_ylim(*sorted((sign * (least - room), sign * (most + room))))


def _basin(axes: Axes, tuning: Tuning, values: NDArray[np.float64], line: Look, failed_at: float) -> Line2D:
    """Draws the mean of the runs at each scale, every run as a faint dot, and a cross at an edge for those without."""
    middle = tuning.means(values)
    known = np.isfinite(middle)
    drawn = _line(axes, tuning.rates, middle, line)
    axes.plot(tuning.rates, values, linestyle="none", color=line.colour, marker=".", markersize=4, alpha=0.45)
    edge = np.full(tuning.failed.sum(), failed_at)
    axes.plot(tuning.rates[tuning.failed], edge, "x", color=line.colour, transform=axes.get_xaxis_transform(), zorder=4)
    if known.any():
        best = np.interp(tuning.chosen, tuning.rates[known], middle[known])
        axes.plot(tuning.chosen, best, "o", color=line.colour, markersize=12, fillstyle="none", markeredgewidth=1.6)
    return drawn


def _plot_scores(
    figure: Figure,
    rows: Sequence[RowResult],
    finals: Mapping[str, NDArray[np.float64]],
    baseline: str | None,
    headline: Headline,
) -> None:
    """Draws a row for each schedule, the first on top: every seed (float64[seeds] by label), mean and interval."""
    axes = figure.subplots()
    for place, row in enumerate(rows):
        if math.isfinite(row.score.mean):
            _row(axes, place, row, finals[row.label], headline.factor)
        else:
            axes.text(0.02, place, row.problem or "no result", transform=axes.get_yaxis_transform(), va="center",
                      fontsize="small", parse_math=False)  # fmt: skip
    names = [short_name(row.label) + (" (reference)" if row.label == baseline else "") for row in rows]
    axes.set_yticks(range(len(rows)), names, parse_math=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    several = any(len(finals[row.label]) > 1 for row in rows)
    axes.set_xlabel(headline.axis(" after the last step"), parse_math=False)
    if several:
        axes.set_title("each seed, their mean and its 95% interval", fontsize="small", loc="left")
    axes.grid(axis="x", alpha=0.25)


def _row(axes: Axes, place: int, row: RowResult, values: NDArray[np.float64], factor: int) -> None:
    good = factor * values[np.isfinite(values)]
    summary = row.score
    axes.plot(good, np.full(len(good), place + 0.18), "|", color="0.55", markersize=9, markeredgewidth=1.2)
    if math.isfinite(summary.low):
        axes.hlines(place, factor * summary.low, factor * summary.high, color=COLOURS[0], linewidth=2.6)
    mean = factor * summary.mean
    axes.plot(mean, place, "o", color=COLOURS[0], markersize=8)
    if failed := summary.diverged + summary.collapsed:
        axes.annotate(f"{failed} failed", (mean, place), (8, 7), textcoords="offset points",
                      fontsize="x-small", color=COLOURS[1])  # fmt: skip


def _plot_differences(figure: Figure, differences: Differences, headline: Headline) -> None:
    """Draws the headline of row less column; a star marks a pair of which better or worse was concluded."""
    points, labels = headline.factor * differences.means, differences.labels
    axes = figure.subplots()
    largest = max(
        numbers.FINE * headline.factor, float(np.nanmax(np.abs(points), initial=0.0, where=np.isfinite(points)))
    )
    # Colour-blind readers can distinguish orange and violet; in grey the sign of the number does.
    image = axes.imshow(points, cmap={1: "PuOr", -1: "PuOr_r"}[headline.sign], vmin=-largest, vmax=largest)
    small = "small" if len(labels) <= 8 else "xx-small"
    for (i, j), value in np.ndenumerate(points):
        if math.isfinite(value):
            mark = differences.mark(i, j)
            dark = abs(value) > 0.6 * largest
            said = headline.difference(float(differences.means[i, j]), "+")
            axes.text(j, i, f"{said}{mark}", ha="center", va="center", fontsize=small,
                      fontweight="bold" if mark == " *" else None, color="white" if dark else "black")  # fmt: skip
    names = [short_name(label) for label in labels]
    axes.set_xticks(range(len(labels)), names, rotation=40, ha="right", parse_math=False)
    axes.set_yticks(range(len(labels)), names, parse_math=False)
    bar = figure.colorbar(image, ax=axes, shrink=0.85)
    bar.set_label(f"row minus column ({headline.unit})", parse_math=False)
    axes.set_title("mean over paired seeds; * better or worse; · not tested", fontsize="small", loc="left")
