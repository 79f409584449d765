"""``lrtrain export``: a schedule as code for a project without lrtrain."""

from __future__ import annotations

from pathlib import Path

import click

from lrtrain.cli.length import asked_run, length_options
from lrtrain.cli.options import plugin_option, set_option
from lrtrain.cli.output import output_option, whole_file
from lrtrain.cli.streams import results_kept
from lrtrain.cli.terminal import shown_path
from lrtrain.schedules.export.api import TARGETS, export_active


@click.command("export", short_help="Write a schedule as code that needs no lrtrain.")
@plugin_option(required=True)
@set_option
@click.option("--to", type=click.Choice(TARGETS), required=True, help="What the code is for; csv is the table.")
@length_options
@output_option("A new file for it, instead of the terminal.")
def command(
    plugins: tuple[str, ...],
    settings: tuple[str, ...],
    to: str,
    workload: str | None,
    epochs: int | None,
    steps: int | None,
    steps_per_epoch: int | None,
    output: Path | None,
) -> None:
    """Write the schedule of a run as code to paste into your own project, or as a table.

    The code is checked against the schedule at every step before it is written. A plugin without a formula is
    written as the numbers of its table.

    \b
    Examples:
      lrtrain export --plugin sgdr --to optax
      lrtrain export --plugin 'wsd(peak_value=1e-3)' --to torch --steps 5000 --output schedule.py
      lrtrain export --plugin cosine-decay --to csv --epochs 3
    """
    run = asked_run(workload, epochs, steps, steps_per_epoch)
    from lrtrain.plugins.loading import activate

    active = activate(plugins, settings, factor=run.factor)
    context = run.context()
    text = export_active(active, context, to)
    if output is None:
        click.echo(text, nl=False)
        return
    with whole_file(output) as file:
        file.write_text(text, encoding="utf-8", newline="\n")
    with results_kept(f"{output} is written"):
        click.echo(f"{shown_path(output)}  ({to}, {context.total_steps} steps)")
