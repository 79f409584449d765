"""``lrtrain plot``: the curve of a schedule, before any training."""

from __future__ import annotations

from pathlib import Path

import click

from lrtrain.cli.length import asked_run, length_options
from lrtrain.cli.options import plugin_option
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
    workload: str | None,
    epochs: int | None,
    steps: int | None,
    steps_per_epoch: int | None,
    output: Path | None,
    force: bool,
) -> None:
    """Draw the learning rates of one or several schedules over a run, in the terminal or into a file.

    \b
    Examples:
      lrtrain plot --plugin sgdr
      lrtrain plot --plugin wsd --plugin 'linear(warmup_steps=5%)' --epochs 30 --output curves.svg
      lrtrain plot --plugin cosine-decay --steps 1000 --output curve.csv
      lrtrain plot --plugin wsd --workload char-lm
    """
    run = asked_run(workload, epochs, steps, steps_per_epoch)
    if output is not None:
        check_output(output, force=force)
    from lrtrain.plugins.loading import activate
    from lrtrain.schedules.table import build_table

    # Every spec is read before the first schedule is evaluated, which starts JAX.
    active = {spec: activate([spec], factor=run.factor) for spec in plugins}
    context = run.context()
    curves = {spec: build_table(each, context).values for spec, each in active.items()}
    if output is None:
        click.echo(draw(curves))
        return
    columns = curves if len(curves) > 1 else {"learning_rate": next(iter(curves.values()))}
    write_output(output, columns, lambda file: draw_curves(curves, file, context.steps_per_epoch), force=force)
    with results_kept(f"{output} is written"):
        click.echo(
            f"{shown_path(output)}  ({context.total_steps} steps of {len(curves)} schedule{'s' * (len(curves) > 1)})"
        )
