"""``lrtrain report``: a page of any runs."""

from __future__ import annotations

from pathlib import Path

import click

from lrtrain.cli.output import check_output, force_option, output_option, whole_file
from lrtrain.cli.streams import results_kept
from lrtrain.cli.terminal import printable, shown_path
from lrtrain.errors import UsageError
from lrtrain.extras import check_extra


@click.command("report", short_help="Write an HTML page of a comparison, or of any runs.")
@click.argument("paths", metavar="RUN_OR_COMPARISON...", nargs=-1, required=True, type=click.Path(path_type=Path))
@output_option("Where to write. [default: into the directory of the one comparison, else ./report.html]", "FILE.html")
@click.option("--to", "form", type=click.Choice(("csv", "latex")), help="The table alone, printed or into --output.")
@force_option
def command(paths: tuple[Path, ...], output: Path | None, form: str | None, force: bool) -> None:
    """Write one HTML file with the results and curves of a comparison, or of any runs; it needs no network.

    A single comparison gets its whole report, with the verdict, the pictures and results.json in its own directory.
    Runs, directories of runs, and several comparisons are shown side by side, without a verdict.

    \b
    Examples:
      lrtrain report runs/compare-20260101-120000
      lrtrain report runs/sgdr-20260101-120000 runs/wsd-20260101-130000 --output both.html
      lrtrain report runs
      lrtrain report runs/compare-20260101-120000 --to latex
    """
    for path in paths:
        if not path.is_dir():
            raise UsageError(f"{path} is no directory: give the directory of a run or of a comparison")
    if form is not None:
        _table(paths, form, output, force=force)
        return
    check_extra("compare", "a report")
    from lrtrain.comparison.result import read_comparison
    from lrtrain.report.comparison_page import page_of_comparison
    from lrtrain.report.numbers import measured_runs
    from lrtrain.report.page.render import render
    from lrtrain.report.runs_page import page_of_runs, runs_in
    from lrtrain.report.write import write_results

    is_alone = len(paths) == 1 and (paths[0] / "comparison.json").is_file()
    if is_alone and output is None:
        output = write_results(read_comparison(paths[0])).report
    else:
        output = output or Path("report.html")
        check_output(output, force=force, suffixes=(".html", ".htm"))
        comparison = read_comparison(paths[0]) if is_alone else None
        page = page_of_comparison(comparison, measured_runs(comparison)) if comparison else page_of_runs(runs_in(paths))
        text = render(page)
        with whole_file(output, force=force) as file:
            file.write_text(text, encoding="utf-8")
    with results_kept(f"{output} is written"):
        click.echo(shown_path(output))


def _table(paths: tuple[Path, ...], form: str, output: Path | None, *, force: bool) -> None:
    """Prints the table of a comparison or of runs, or writes it into a file."""
    from lrtrain.comparison.result import read_comparison
    from lrtrain.report.formats import FORMATS
    from lrtrain.report.runs_page import runs_in, table_of_runs

    is_alone = len(paths) == 1 and (paths[0] / "comparison.json").is_file()
    table = read_comparison(paths[0]).table if is_alone else table_of_runs(runs_in(paths))
    text = FORMATS[form](table)
    if output is None:
        click.echo("\n".join(map(printable, text.splitlines())))
        return
    check_output(output, force=force, suffixes=(".csv", ".tex", ".txt"))
    with whole_file(output, force=force) as file:
        file.write_text(text, encoding="utf-8")
    click.echo(shown_path(output))
