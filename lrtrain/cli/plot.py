"""``lrtrain plot``: the curve of a schedule, before any training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lrtrain.cli.options import plugin_option
from lrtrain.cli.output import check_output, force_option, output_option, whole_file
from lrtrain.cli.streams import results_kept
from lrtrain.cli.terminal import draw, shown_path
from lrtrain.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@click.command("plot", short_help="Draw the curves of schedules, before any training.")
@plugin_option(required=True)
@click.option("--epochs", type=click.IntRange(1), help="Length of the run in epochs.  [default: 10]")
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Length of the run in optimizer updates.")
@click.option(
    "--steps-per-epoch",
    type=click.IntRange(1),
    default=235,
    show_default=True,
    metavar="N",
    help="Optimizer updates in an epoch (235: Fashion-MNIST in batches of 256).",
)
@output_option()
@force_option()
def command(
    plugins: tuple[str, ...],
    epochs: int | None,
    steps: int | None,
    steps_per_epoch: int,
    output: Path | None,
    force: bool,
) -> None:
    """Draw the learning rates of one or several schedules over a run, in the terminal or into a file.

    \b
    Examples:
      lrtrain plot --plugin sgdr
      lrtrain plot --plugin wsd --plugin 'linear(transition_begin=0)' --epochs 30 --output curves.svg
      lrtrain plot --plugin cosine-decay --steps 1000 --output curve.csv
    """
    if epochs is not None and steps is not None:
        raise UsageError("--epochs and --steps both give the length of the run: give one of them")
    if output is not None:
        check_output(output, force=force)
    total = steps if steps is not None else (epochs or 10) * steps_per_epoch
    curves = _curves(plugins, total, steps_per_epoch)
    if output is None:
        click.echo(draw(curves))
        return
    with whole_file(output, force=force) as file:
        _write(curves, file, steps_per_epoch)
    with results_kept(f"{output} is written"):
        click.echo(f"{shown_path(output)}  ({total} steps of {len(curves)} schedule{'s' * (len(curves) > 1)})")


def _curves(plugins: tuple[str, ...], total: int, steps_per_epoch: int) -> dict[str, NDArray[np.float32]]:
    from lrtrain.plugins.loading import activate
    from lrtrain.schedules.table import build_table, make_context

    active = [activate([spec]) for spec in plugins]
    context = make_context(total, steps_per_epoch)
    return {spec: build_table(each, context).values for spec, each in zip(plugins, active, strict=True)}


def _write(curves: dict[str, NDArray[np.float32]], output: Path, steps_per_epoch: int) -> None:
    if output.suffix.lower() == ".csv":
        _write_csv(curves, output)
        return
    from lrtrain.figures import draw_curves

    draw_curves(curves, output, steps_per_epoch)


def _write_csv(curves: dict[str, NDArray[np.float32]], output: Path) -> None:
    import csv

    with output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", *(curves if len(curves) > 1 else ["learning_rate"])])
        writer.writerows(zip(range(len(next(iter(curves.values())))), *curves.values(), strict=True))
