"""``python -m benchmarks.curves RUN [RUN ...]``: the picture of each run in the README of its workload's package."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.options import ROOT

_PARTS = 100
"""Means of so many parts of a run stand for the losses of its steps."""


def main(runs: Sequence[str]) -> None:
    """Draws the runs; a later one of the same workload replaces an earlier one."""
    for run in runs:
        print(draw(Path(run)).relative_to(ROOT))


def draw(path: Path) -> Path:
    """Draws the training loss over the steps, and the headline after each epoch; returns the file."""
    from matplotlib.ticker import LogFormatter

    from lrtrain.figures import look, save, sheet
    from lrtrain.runs import read_run

    run = read_run(path)
    assert run.head is not None, f"{path} has no configuration"
    losses = np.genfromtxt(path / "steps.csv", delimiter=",", names=True)["loss"]
    parts = np.array_split(losses, min(_PARTS, len(losses)))
    epochs = np.arange(1, len(run.epochs) + 1)
    scores = [epoch.value(run.headline.name) for epoch in run.epochs]
    with sheet(7, 2.6) as figure:
        # A run of one epoch has no curve on the right.
        for index, axes in enumerate(figure.subplots(1, min(2, len(epochs)), squeeze=False)[0]):
            if index:
                axes.plot(epochs, scores, color=look(1).colour, marker="o", markersize=3)
                axes.set(xlabel="epoch", ylabel=f"{run.epochs[0].measured_on} {run.headline.name.replace('_', ' ')}")
            else:
                steps = np.cumsum([len(part) for part in parts])
                axes.plot(steps, [part.mean() for part in parts], color=look(0).colour)
                axes.set(xlabel="step", ylabel="training loss", yscale="log")
                axes.yaxis.set_major_formatter(LogFormatter())
                axes.yaxis.set_minor_formatter(LogFormatter())
            axes.grid(alpha=0.25)
        drawn = ROOT / "plugins" / f"lrtrain-{str(run.head.train.workload).partition('(')[0]}" / "curve.svg"
        save(figure, drawn)
    return drawn


if __name__ == "__main__":
    main(sys.argv[1:])
