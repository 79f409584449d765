"""The charts of a page, in the terms of plotly.js; a label is escaped, for plotly reads tags in names."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lrtrain.report.numbers import FINE, Curves, Differences, Tuning, quartiles, short_name
from lrtrain.report.page.render import Chart, colour, dash

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lrtrain.comparison.evidence import RowResult
    from lrtrain.workloads.headline import Headline
    from lrtrain.workloads.wording import Wording

Trace: TypeAlias = dict[str, Any]
Numbered: TypeAlias = tuple[int, Curves]
_MOST_POINTS = 1500


def curve_charts(curves: Sequence[Numbered], headline: Headline, words: Wording) -> Iterator[Chart]:
    """Shows the learning rates over steps, and loss and headline after every epoch."""
    thinned = [(index, each, _thinned(len(each.learning_rates))) for index, each in curves]
    yield Chart(
        "learning-rates",
        "Learning rate",
        "What was applied at every optimizer update, with the scale that was chosen and whatever hooks asked for.",
        [_line(n, each.label, at, each.learning_rates[at], "step %{x}: %{y:.3e}") for n, each, at in thinned],
        _axes("step (optimizer updates)", "learning rate", exponentformat="e", rangemode="tozero"),
    )
    where = curves[0][1].measured_on
    several = any(len(each.losses) > 1 for _, each in curves)
    band = "The line is the median over the seeds, the band their middle half." if several else "One run each."
    yield Chart(
        "loss",
        f"{where.capitalize()} loss",
        f"Mean {words.loss} after each epoch; lower is better. {band}",
        [trace for n, each in curves for trace in _band(n, each, each.losses, ".4f")],
        _axes("step (optimizer updates)", f"{where} {words.loss_axis}"),
    )
    if not headline.is_loss:
        values = [(n, each, headline.factor * each.scores) for n, each in curves]
        yield Chart(
            headline.figure,
            f"{where.capitalize()} {headline.name}",
            f"{_capital(headline.meaning())} after each epoch; {headline.better} is better. {band}",
            [trace for n, each, scores in values for trace in _band(n, each, scores, headline.drawn)],
            _axes("step (optimizer updates)", f"{where} {headline.axis()}"),
        )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _thinned(points: int) -> NDArray[np.int64]:
    """Returns which points are drawn: all, or evenly many with the first and the last."""
    return np.unique(np.linspace(0, points - 1, min(points, _MOST_POINTS)).round().astype(np.int64))


def _band(index: int, curves: Curves, values: NDArray[np.float64], form: str) -> list[Trace]:
    low, middle, high = quartiles(values)
    line = _line(index, curves.label, curves.steps, middle, f"step %{{x}}: %{{y:{form}}}") | {"mode": "lines+markers"}
    if len(values) < 2:
        return [line]
    band = {
        "x": [*curves.steps.tolist(), *curves.steps[::-1].tolist()],
        "y": [*low.tolist(), *high[::-1].tolist()],
        "meta": curves.label,
        "fill": "toself",
        "fillcolor": colour(index),
        "opacity": 0.18,
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
    }
    return [band, line]


def scores_chart(
    rows: Sequence[RowResult],
    finals: Mapping[str, NDArray[np.float64]],
    numbers: Mapping[str, int],
    headline: Headline,
    when: str = " after the last step",
) -> Chart:
    """Shows the final headline of every seed (float64[seeds] by label), the mean and its interval; the first on top."""
    traces: list[Trace] = []
    shown = [row for row in rows if math.isfinite(row.score.mean)]
    for row in shown:
        values = headline.factor * finals[row.label][np.isfinite(finals[row.label])]
        shade = colour(numbers[row.label])
        stroke = {"color": shade, "symbol": "line-ns-open", "size": 12, "opacity": 0.7}
        traces += [_points(row.label, values.tolist(), stroke, f"one seed: %{{x:{headline.drawn}}}")]
        traces.append(_mean(row, shade, headline))
    several = any(len(values) > 1 for values in finals.values())
    return Chart(
        "final",
        f"Final {headline.name}",
        "The dot is the mean over the seeds, the bar its 95% interval, each stroke one seed; best mean on top."
        if several
        else "After the last step, one run each; best on top.",
        traces,
        {
            "xaxis": {"title": {"text": _escaped(headline.axis(when))}},
            "yaxis": {"autorange": "reversed", "type": "category", "categoryarray": [_name(r.label) for r in shown]},
        },
        height=120 + 42 * len(shown),
    )


def _points(label: str, x: list[float], marker: dict[str, Any], hover: str) -> Trace:
    return {
        "x": x,
        "y": [_name(label)] * len(x),
        "meta": label,
        "mode": "markers",
        "marker": marker,
        "hovertemplate": f"{hover}<extra></extra>",
    }


def _mean(row: RowResult, shade: str, headline: Headline) -> Trace:
    summary, factor, form = row.score, headline.factor, headline.drawn
    interval = f", 95% interval {factor * summary.low:{form}} to {factor * summary.high:{form}}"
    hover = f"mean %{{x:{form}}}{interval if math.isfinite(summary.low) else ''}"
    trace = _points(row.label, [factor * summary.mean], {"color": shade, "size": 12}, hover)
    if math.isfinite(summary.low):
        trace["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [factor * (summary.high - summary.mean)],
            "arrayminus": [factor * (summary.mean - summary.low)],
            "color": shade,
            "thickness": 3,
            "width": 6,
        }
    return trace


def basin_chart(tunings: Sequence[Tuning], headline: Headline) -> Chart:
    """Shows what the tuning has seen."""
    traces = []
    for index, each in enumerate(tunings):
        means = each.means(headline.factor * each.scores)
        trace = _line(index, each.label, each.rates, means, f"learning rate %{{x:.3g}}: %{{y:{headline.drawn}}}")
        traces.append(trace | {"mode": "lines+markers", "marker": {"color": colour(index), "size": 7}})
        known = np.isfinite(means)
        if known.any():
            at = [float(np.interp(each.chosen, each.rates[known], means[known]))]
            star = {"color": colour(index), "size": 14, "symbol": "star"}
            traces.append(_line(index, each.label, np.array([each.chosen]), np.array(at), "chosen: %{x:.3g}"))
            traces[-1] |= {"mode": "markers", "marker": star}
    axes = _axes("highest learning rate of the schedule", f"validation {headline.axis()}")
    axes["xaxis"] |= {"type": "log", "exponentformat": "e"}
    return Chart(
        "basin",
        "How sensitive to the learning rate",
        f"Mean validation {headline.name} of the tuning at each learning rate that was tried; a star marks the one "
        f"that a fitted curve says is best. A broad {'top' if headline.sign > 0 else 'bottom'} forgives a wrong "
        "learning rate. A gap is where a run diverged or is far off.",
        traces,
        axes,
    )


def differences_chart(differences: Differences, headline: Headline) -> Chart:
    """Shows every schedule against every other."""
    points = headline.factor * differences.means
    names = [_name(label) for label in differences.labels]
    largest = max(FINE * headline.factor, float(np.nanmax(np.abs(points))))
    words = [
        [
            f"{headline.difference(value, '+')}{differences.mark(i, j)}" if math.isfinite(value) else ""
            for j, value in each
        ]
        for i, each in enumerate(map(enumerate, differences.means))
    ]
    in_points = f", in{headline.points}" if headline.points else headline.remark
    # The better one of a pair is violet.
    low, high = ("#B35806", "#542788")[:: headline.sign]
    return Chart(
        "differences",
        "Each against each",
        f"{_capital(headline.name)} of the row less that of the column{in_points}, mean over the same seeds. A star "
        "marks a pair that was found to differ, a dot one that was not tested; without a star, a difference may "
        "be chance.",
        [
            {
                "type": "heatmap",
                "x": names,
                "y": names,
                "z": points.tolist(),
                "text": words,
                "texttemplate": "%{text}",
                "zmin": -largest,
                "zmax": largest,
                "colorscale": [[0, low], [0.5, "#f7f7f7"], [1, high]],
                "hovertemplate": f"%{{y}} less %{{x}}: %{{text}}{headline.points}<extra></extra>",
                "hoverongaps": False,
                "colorbar": {
                    "title": {"text": headline.points.strip() or _escaped(headline.name), "side": "right"},
                    "thickness": 12,
                },
            }
        ],
        {"yaxis": {"autorange": "reversed", "type": "category"}, "xaxis": {"type": "category"}},
        height=200 + 46 * len(names),
    )


def _line(index: int, label: str, x: NDArray[Any], y: NDArray[Any], hover: str) -> Trace:
    return {
        "x": x.tolist(),
        "y": y.tolist(),
        "meta": label,
        "name": _name(label),
        "mode": "lines",
        "line": {"color": colour(index), "dash": dash(index), "width": 2},
        "hovertemplate": f"{hover}<extra>{_name(label)}</extra>",
    }


def _name(label: str) -> str:
    return _escaped(short_name(label))


def _escaped(text: str) -> str:
    # Plotly replaces %{...} in what it shows when one points at a line.
    return html.escape(text, quote=False).replace("%{", "%&#123;")


def _axes(x: str, y: str, **of_y: Any) -> dict[str, Any]:
    return {"xaxis": {"title": {"text": x}, "rangemode": "tozero"}, "yaxis": {"title": {"text": _escaped(y)}, **of_y}}
