"""Pictures of learning rates, and what all pictures of lrtrain share."""

from __future__ import annotations

import contextlib
import io
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrtrain.files import write_whole

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from numpy.typing import NDArray

# Okabe and Ito's colours, which colour-blind readers can distinguish; in grey the line styles do.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_MARKS = 12
_LABEL_WIDTH, _LABEL_LINES = 110, 4
# Letters of the legend to an inch, and those that the sample of a line takes the room of.
_PER_INCH, _HANDLE = 13, 8


def draw_curves(curves: Mapping[str, NDArray[np.float32]], path: Path, steps_per_epoch: int | None = None) -> None:
    """Writes a picture of learning rates over steps; with ``steps_per_epoch``, a second axis counts epochs.

    The suffix of the file (``.png``, ``.svg`` or ``.pdf``) decides the format.
    """
    wrap = textwrap.TextWrapper(_LABEL_WIDTH, max_lines=_LABEL_LINES, placeholder=" ...", break_on_hyphens=False)
    labels = list(map(wrap.fill, curves))
    lines = sum(label.count("\n") + 1 for label in labels)
    with sheet(8, 4.5 + 0.17 * lines) as figure:
        axes = figure.add_subplot()
        _draw(axes, curves, steps_per_epoch)
        legend_of(figure, axes.get_lines(), labels)
        save(figure, path)


@dataclass(frozen=True)
class Look:
    """How a line is drawn; style and marker alone distinguish the first 28, in grey too."""

    colour: str
    style: str
    marker: str


def look(index: int) -> Look:
    """Returns how the line of that number is drawn."""
    return Look(COLOURS[index % len(COLOURS)], _STYLES[index % len(_STYLES)], _MARKERS[index % len(_MARKERS)])


@contextlib.contextmanager
def sheet(width: float, height: float) -> Iterator[Figure]:
    """Gives an empty figure of that many inches; saved inside, it is the same file each time."""
    import matplotlib

    # The object-oriented interface: pyplot would start a window system and keep figures alive.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Text as text, not outlines; and no date, so that the same curves give the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lrtrain"}):
        figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def save(figure: Figure, path: Path) -> None:
    """Writes a figure, whole or not at all, without the date that an SVG would have."""
    kind = path.suffix.lower().removeprefix(".")
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind, metadata={"Date": None} if kind == "svg" else {})
    if path.exists() and not path.is_file():
        # A device or a pipe: nothing can take its place.
        path.write_bytes(drawn.getvalue())
    else:
        write_whole(path, drawn.getvalue())


def _draw(axes: Axes, curves: Mapping[str, NDArray[np.float32]], steps_per_epoch: int | None) -> None:
    for index, values in enumerate(curves.values()):
        line = look(index)
        # In front of the frame: a learning rate of 0 lies on it.
        (drawn,) = axes.plot(values, line.style, color=line.colour, linewidth=1.8, clip_on=False, zorder=3)
        if len(values) == 1 or len(curves) > len(_STYLES):
            # A few, and beside those of the other lines.
            apart = max(1, len(values) // _MARKS)
            marks = list(range(index * apart // len(curves), len(values), apart))
            drawn.set(marker=line.marker, markersize=5, markevery=marks)
    axes.set(xlabel="step (optimizer updates)", ylabel="learning rate")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    axes.grid(alpha=0.25)
    axes.yaxis.set_major_formatter(_rate_text(max(float(values.max()) for values in curves.values())))
    if steps_per_epoch and max(map(len, curves.values())) > steps_per_epoch:
        scaling = (lambda step: step / steps_per_epoch, lambda epoch: epoch * steps_per_epoch)
        above = axes.secondary_xaxis("top", functions=scaling)
        above.set_xlabel("epoch")


def _rate_text(highest: float) -> Callable[[float, float], str]:
    """Returns how learning rates are written: as one types them, with the power of ten of the highest."""
    power = math.floor(math.log10(highest)) if highest > 0 else 0
    if -2 <= power <= 3:
        return lambda rate, _: f"{rate:g}"
    # Apart from the axis, matplotlib's own power of ten falls on the epochs above it.
    return lambda rate, _: f"{rate / 10.0**power:.4g}e{power}" if rate else "0"


def legend_of(figure: Figure, lines: Sequence[Line2D], labels: Sequence[str], note: str | None = None) -> None:
    """Adds a legend below the axes: specs are long, and inside it would lie on the curves."""
    longest = max((len(line) for label in labels for line in label.splitlines()), default=0)
    # As many columns as have room side by side, at most 3.
    fitting = (each for each in (3, 2) if longest + _HANDLE <= figure.get_figwidth() * _PER_INCH / each)
    legend = figure.legend(
        lines,
        labels,
        loc="outside lower left",
        fontsize="small",
        frameon=False,
        ncols=min(len(labels), next(fitting, 1)) or 1,
        title=note,
        title_fontsize="small",
        alignment="left",
    )
    for text in legend.get_texts():
        # A dollar sign in a spec is one.
        text.set_parse_math(False)
