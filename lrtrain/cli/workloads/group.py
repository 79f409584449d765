"""``lrtrain workloads``: what is installed, what one workload is, and whether it passes the checks of them all."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrtrain.cli.described import documentation, example_spec, identity, print_description, print_results
from lrtrain.cli.options import ListGroup, complete_workload, json_option
from lrtrain.cli.plugins.packages import author_option, directory_option, make_package
from lrtrain.cli.tables import print_json, print_lines
from lrtrain.cli.terminal import printable
from lrtrain.plugins.discovery import WORKLOADS, Entry, duplicates, find_plugin, find_plugins
from lrtrain.plugins.spec import Spec, format_name

if TYPE_CHECKING:
    from lrtrain.workloads.workload import Workload

_BETTER = {"min": "lower", "max": "higher"}


@click.group("workloads", cls=ListGroup, short_help="List, show, make and check workloads.")
def command() -> None:
    """List the installed workloads, show what one trains and takes, make one, and check it.

    A workload is what is trained: data, network, loss and metrics. `lrtrain plugins install` and `lrtrain plugins
    uninstall` install and uninstall the packages of workloads too.
    """


@command.command("list", short_help="List the installed workloads.")
@json_option
def list_workloads(as_json: bool) -> None:
    """List the installed workloads with the number that each is judged by and the packages that provide them.

    Each one is imported; what is wrong with a broken one, and the cure, stands in its line.
    """
    entries = find_plugins(WORKLOADS)
    twice = duplicates(entries)
    rows = [{**identity(entry), "duplicate": entry.name in twice, **_loaded(entry, entries)} for entry in entries]
    if as_json:
        print_json(rows)
        return
    columns = ["name", "distribution", "version", "headline", "summary"]
    print_lines(columns, [[_cell(row, column) for column in columns] for row in rows])


@command.command("show", short_help="Show one workload: what it trains, its options, its defaults.")
@click.argument("name", shell_complete=complete_workload)
@click.option("--measure", is_flag=True, help="Load the data and make the network, and show their sizes.")
@json_option
def show(name: str, measure: bool, as_json: bool) -> None:
    """Show the documentation of workload NAME, its options, the defaults of its training, and an example.

    NAME may have options, as in 'char-lm(width=128)', which --measure applies.
    """
    from lrtrain.plugins.options import options_of
    from lrtrain.workloads.loading import load_workload, load_workload_class

    entry = find_plugin(Spec.of(name).name, WORKLOADS)
    workload = load_workload_class(entry)
    options, text = [vars(option) for option in options_of(workload)], documentation(workload)
    example = f"lrtrain --workload {shlex.quote(example_spec(format_name(entry.reference), options))} --plugin linear"
    headline, defaults = vars(workload.headline), vars(workload.defaults)
    sizes = _sizes(load_workload(name).workload) if measure else None
    if as_json:
        shown = {"headline": headline, "documentation": text, "options": options, "defaults": defaults}
        print_json({**identity(entry), **shown, "example": example, **({} if sizes is None else {"sizes": sizes})})
        return
    better = _BETTER[workload.headline.mode]
    print_description(entry, f"headline: {workload.headline.name}, {better} is better", text, options)
    click.echo("Defaults of training")
    for option, value in defaults.items():
        click.echo(f"  {option.replace('_', ' ')}: {printable(f'{value}')}")
    if sizes is not None:
        click.echo("\nSizes")
        for what, size in sizes.items():
            click.echo(f"  {what}: {printable(size)}")
    click.echo(f"\nExample\n  {printable(example)}")


@command.command("new", short_help="Make a package for a workload of your own.")
@click.argument("name")
@directory_option
@author_option
def new(name: str, directory: Path | None, author: str | None) -> None:
    """Make a package with a workload called NAME: a module, its test, a README, a licence (Apache-2.0).

    The package works as it is: its tests pass and lrtrain trains it. Edit the data and the network in its module.

    \b
    Example:
      lrtrain workloads new two-moons
    """
    make_package(WORKLOADS, name, directory, author)


@command.command("check", short_help="Check that a workload behaves: its data, network, loss, training.")
@click.argument("name", shell_complete=complete_workload)
@json_option
def check(name: str, as_json: bool) -> None:
    """Run all checks of lrtrain.testing on workload NAME, and say which failed and why.

    NAME may have options, as in 'char-lm(width=128)'. The exit code is 1 when a check failed. A check that has nothing
    to look at is skipped.
    """
    from lrtrain.testing.checks import outcomes
    from lrtrain.testing.workloads.checks import CHECKS, FIRST
    from lrtrain.testing.workloads.subject import WorkloadSubject

    entry = find_plugin(Spec.of(name).name, WORKLOADS)
    print_results(entry, outcomes(WorkloadSubject(name), CHECKS, FIRST), as_json=as_json)


def _loaded(entry: Entry, installed: Sequence[Entry]) -> dict[str, Any]:
    """Returns what is known of a workload once it has been imported."""
    from lrtrain.plugins.problems import problems_of
    from lrtrain.workloads.loading import load_workload_class

    problems = [vars(problem) for problem in problems_of(entry, installed, load_workload_class)]
    if any(each["kind"] == "broken" for each in problems):
        return {"headline": None, "problems": problems}
    workload = load_workload_class(entry)
    # Not that of the distribution, which may provide several.
    summary = " ".join(documentation(workload).partition("\n\n")[0].split())
    return {"headline": vars(workload.headline), "summary": summary, "problems": problems}


def _cell(row: dict[str, Any], column: str) -> str:
    problems = row["problems"]
    if column == "headline":
        headline = row["headline"]
        return f"{headline['name']} ({headline['mode']})" if headline and not problems else f"({problems[0]['kind']})"
    if column == "summary" and problems:
        return "; ".join(f"{each['text']}: {each['cure']}" for each in problems)
    return str(row[column]) + (" (duplicate)" if column == "name" and row["duplicate"] else "")


def _sizes(workload: Workload) -> dict[str, str]:
    """Returns the numbers of examples, their types and shapes, and the number of parameters."""
    from lrtrain.workloads.measure import sizes_of

    return sizes_of(workload)
