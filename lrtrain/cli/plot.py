"""``lrtrain plot``: the curve of a schedule, before any training."""

from __future__ import annotations

from pathlib import Path

import click

from lrtrain.cli.options import length_options, plugin_option, total_steps
from lrtrain.cli.output import check_output, force_option, output_option, write_output
from lrtrain.cli.streams import results_kept
from lrtrain.cli.terminal import draw, shown_path
from lrtrain.figures import draw_curves


@click.command("plot", short_help="Draw the curves of schedules, before any training.")
@plugin_option(required=True)
@length_options
@output_option()
@force_option
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
      lrtrain plot --plugin wsd --plugin 'linear(warmup_steps=5%)' --epochs 30 --output curves.svg
      lrtrain plot --plugin cosine-decay --steps 1000 --output curve.csv
    """
    total = total_steps(epochs, steps, steps_per_epoch)
    if output is not None:
        check_output(output, force=force)
    from lrtrain.plugins.loading import activate
    from lrtrain.schedules.table import build_table, make_context

    context = make_context(total, steps_per_epoch)
    # Every spec is read before the first schedule is evaluated, which starts JAX.
    active = {spec: activate([spec]) for spec in plugins}
    curves = {spec: build_table(each, context).values for spec, each in active.items()}
    if output is None:
        click.echo(draw(curves))
        return
    columns = curves if len(curves) > 1 else {"learning_rate": next(iter(curves.values()))}
    write_output(output, columns, lambda file: draw_curves(curves, file, steps_per_epoch), force=force)
    with results_kept(f"{output} is written"):
        click.echo(f"{shown_path(output)}  ({total} steps of {len(curves)} schedule{'s' * (len(curves) > 1)})")
