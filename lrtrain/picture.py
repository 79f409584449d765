"""Curves of learning rates as files; the only file that imports matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

# Okabe and Ito's colours, told apart by colour-blind readers; line styles tell them apart in grey.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", "-.", ":")


def draw_curves(curves: Mapping[str, NDArray[np.float32]], path: Path, steps_per_epoch: int | None = None) -> None:
    """Writes a picture of learning rates over steps.

    Args:
      curves: float32[steps] by the name that the legend gives.
      path: the file; its suffix (``.png``, ``.svg`` or ``.pdf``) decides the format.
      steps_per_epoch: with it, a second axis counts epochs.
    """
    import matplotlib

    # Text as text, not outlines; and no date, so that the same curves give the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lrtrain"}):
        _draw(curves, path, steps_per_epoch)


def _draw(curves: Mapping[str, NDArray[np.float32]], path: Path, steps_per_epoch: int | None) -> None:
    # The object-oriented interface: pyplot would start a window system and keep figures alive.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for index, (name, values) in enumerate(curves.items()):
        style = _STYLES[index // len(_COLOURS) % len(_STYLES)]
        marker = "o" if len(values) == 1 else None
        axes.plot(values, style, color=_COLOURS[index % len(_COLOURS)], label=name, linewidth=1.8, marker=marker)
    axes.set(xlabel="step (optimizer updates)", ylabel="learning rate")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    axes.grid(alpha=0.25)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    if steps_per_epoch and max(map(len, curves.values())) > steps_per_epoch:
        above = axes.secondary_xaxis("top", functions=_scaling(steps_per_epoch))
        above.set_xlabel("epoch")
    _legend(axes, list(curves))
    date = {"Date": None} if path.suffix == ".svg" else {}
    figure.savefig(path, metadata=date)


def _scaling(factor: int) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    return lambda x: x / factor, lambda x: x * factor


def _legend(axes: Axes, names: list[str]) -> None:
    shown = [name if len(name) <= 70 else name[:67] + "..." for name in names]
    axes.legend(shown, loc="best", fontsize="small", framealpha=0.9)
