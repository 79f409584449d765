"""``lrtrain verdict``: what results that were measured anywhere support."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lrtrain.cli.options import json_option
from lrtrain.cli.output import check_output, force_option, output_option, whole_file
from lrtrain.cli.streams import results_kept
from lrtrain.cli.tables import print_json, print_table
from lrtrain.cli.terminal import printable, shown_path
from lrtrain.extras import check_extra

if TYPE_CHECKING:
    from lrtrain.comparison.table import Table


@click.command("verdict", short_help="Say which of the results in a CSV file differ, and how sure that is.")
@click.argument("file", metavar="FILE.csv", type=click.Path(path_type=Path))
@click.option("--label", default="label", show_default=True, metavar="COLUMN", help="What was compared.")
@click.option("--seed", default="seed", show_default=True, metavar="COLUMN", help="Results of a seed are paired.")
@click.option("--value", default="value", show_default=True, metavar="COLUMN", help="The result.")
@click.option("--workload", metavar="COLUMN", help="On what it was measured; each is judged alone.")
@click.option("--unpaired", is_flag=True, help="The runs have no seeds in common: Welch's test of independent runs.")
@click.option(
    "--better",
    type=click.Choice(("higher", "lower")),
    help="Which value is better. [default: lower where the column is called loss, error or such, else higher]",
)
@click.option("--baseline", metavar="LABEL", help="Compare the others with it alone. [default: every pair]")
@click.option("--margin", type=float, default=0.0, show_default=True, help="The largest difference that is a tie.")
@output_option("A page (.html) or a picture (.png, .svg) of the results.")
@force_option
@json_option
def command(
    *,
    file: Path,
    label: str,
    seed: str,
    value: str,
    workload: str | None,
    unpaired: bool,
    better: str | None,
    baseline: str | None,
    margin: float,
    output: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Say what the results in a CSV file support: means with their intervals, and which pairs differ.

    The file has a header, and a line for each run: a label, a seed, and a value. It may come from any training. One
    seed has to mean the same initial weights and the same data for every label; results are compared seed by seed.

    \b
    Examples:
      lrtrain verdict results.csv
      lrtrain verdict results.csv --label optimizer --value test_loss --baseline adamw
      lrtrain verdict results.csv --unpaired --output results.html
    """
    from lrtrain.comparison.given import Columns, rows_of_file
    from lrtrain.comparison.judged import verdict_of_rows

    if output is not None:
        check_output(output, force=force, suffixes=(".html", ".png", ".svg"))
        if output.suffix.lower() == ".html":
            check_extra("compare", "a page")
    columns = Columns(label, None if unpaired else seed, value, workload)
    found = verdict_of_rows(rows_of_file(file), columns, better=better, baseline=baseline, margin=margin)
    if output is not None:
        from lrtrain.report.given import write_given

        with whole_file(output, force=force) as path:
            write_given(found, file.name, path)
    with results_kept(f"{output} is written" if output else "the results are judged"):
        if as_json:
            print_json(found.to_json())
            return
        for name, table in found.tables.items():
            _show(f"{workload}: {name}" if name else "", table, found.sentences[name])
        if output is not None:
            click.echo(shown_path(output))


def _show(title: str, table: Table, sentences: Sequence[str]) -> None:
    if title:
        click.echo(click.style(printable(title), bold=True))
    rows = [[cell.text for cell in row] for row in table.rows]
    print_table(table.titles, rows, [column.title for column in table.columns if column.numeric], ("median",))
    for sentence in sentences:
        click.echo(printable(sentence))
