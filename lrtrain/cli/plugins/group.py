"""``lrtrain plugins``: what is installed, what one plugin is, and whether it passes the checks of `lrtrain.testing`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from lrtrain.cli.described import documentation, example_spec, identity, print_description, print_results
from lrtrain.cli.options import ListGroup, complete_plugin, json_option
from lrtrain.cli.plugins.packages import install, new, uninstall
from lrtrain.cli.tables import print_json, print_lines
from lrtrain.cli.terminal import draw, printable
from lrtrain.errors import LrtrainError
from lrtrain.plugins.discovery import Entry, duplicates, find_plugin, find_plugins, read_once
from lrtrain.plugins.spec import format_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STEPS, _STEPS_PER_EPOCH = 2350, 235


@click.group("plugins", cls=ListGroup, short_help="List, show, make, install and uninstall plugins.")
def command() -> None:
    """List the installed plugins, show what one does and takes, make one, install and uninstall them."""


command.add_command(new)
command.add_command(install)
command.add_command(uninstall)


@command.command("list", short_help="List the installed plugins.")
@click.option("--load", is_flag=True, help="Import each plugin, and show its hooks, or what is wrong and the cure.")
@json_option
def list_plugins(load: bool, as_json: bool) -> None:
    """List the installed plugins with the packages that provide them.

    Nothing is imported, so a broken plugin does no harm; --load imports each one.
    """
    entries = find_plugins()
    twice = duplicates(entries)
    rows = [
        {**identity(entry), "duplicate": entry.name in twice, **(_loaded(entry, entries) if load else {})}
        for entry in entries
    ]
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("no plugin is installed: pip install 'lrtrain[all]' installs those of lrtrain")
        return
    columns = ["name", "distribution", "version", *(["hooks"] if load else []), "summary"]
    print_lines(columns, [[_cell(row, column) for column in columns] for row in rows])


@command.command("show", short_help="Show one plugin: what it does, its options, its curve.")
@click.argument("name", shell_complete=complete_plugin)
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the documentation of plugin NAME, its options, an example, and its curve over a run of ten epochs."""
    from lrtrain.plugins.loading import hooks_of, load_class
    from lrtrain.plugins.options import options_of

    entry = find_plugin(name)
    plugin = load_class(entry)
    hooks, options = hooks_of(plugin), [vars(option) for option in options_of(plugin)]
    text = documentation(plugin)
    example = _example(entry, options)
    curve, no_curve = _curve(entry) if "build_schedule" in hooks else (None, "it builds no schedule")
    if as_json:
        rates = None if curve is None else {"steps": _STEPS, "learning_rates": [float(str(x)) for x in curve]}
        shown = {"hooks": hooks, "documentation": text, "options": options, "example": example}
        print_json({**identity(entry), **shown, "curve": rates, "no_curve": no_curve})
        return
    print_description(entry, f"hooks: {', '.join(hooks)}", text, options)
    click.echo(f"Example\n  {printable(example)}\n")
    if curve is not None:
        click.echo(f"Learning rate over 10 epochs of {_STEPS_PER_EPOCH} steps, with the defaults")
        click.echo(draw({printable(entry.name): curve}))
    elif "build_schedule" in hooks:
        click.echo(f"No curve with the defaults: {printable(str(no_curve))}")


def _loaded(entry: Entry, installed: Sequence[Entry]) -> dict[str, Any]:
    """Returns what is known of a plugin once it has been imported."""
    from lrtrain.plugins.loading import hooks_of, load_class
    from lrtrain.plugins.problems import problems_of

    problems = [vars(problem) for problem in problems_of(entry, installed)]
    error = next((each["text"] for each in problems if each["kind"] == "broken"), None)
    hooks = list(hooks_of(load_class(entry))) if error is None else []
    return {"hooks": hooks, "error": error, "problems": problems}


def _cell(row: dict[str, Any], column: str) -> str:
    problems = row.get("problems", [])
    if column == "hooks" and problems:
        return f"({problems[0]['kind']})"
    if column == "summary" and problems:
        return "; ".join(f"{each['text']}: {each['cure']}" for each in problems)
    mark = " (duplicate)" if column == "name" and row["duplicate"] else ""
    return ", ".join(row["hooks"]) if column == "hooks" else str(row[column]) + mark


def _example(entry: Entry, options: Sequence[dict[str, Any]]) -> str:
    spec = example_spec(format_name(entry.reference), options)
    return f"lrtrain --plugin {shlex.quote(spec)} --epochs 3"


def _curve(entry: Entry) -> tuple[NDArray[np.float32] | None, str | None]:
    """Returns the learning rates with the defaults, or why there are none."""
    from lrtrain.plugins.loading import activate
    from lrtrain.schedules.table import build_table, make_context

    try:
        return build_table(activate([entry.reference]), make_context(_STEPS, _STEPS_PER_EPOCH)).values, None
    except LrtrainError as error:
        return None, str(error)


@command.command("check", short_help="Check that a plugin behaves: its hooks, curves, options, documentation.")
@click.argument("name", shell_complete=complete_plugin)
@click.option(
    "--spec",
    "specs",
    multiple=True,
    metavar="SPEC",
    help="Further example of the plugin, with options; may be repeated. The bare name is always checked.",
)
@json_option
def check(name: str, specs: Sequence[str], as_json: bool) -> None:
    """Run all checks of lrtrain.testing on plugin NAME, and say which failed and why.

    The exit code is 1 when a check failed. A check that has nothing to look at is skipped.
    """
    from lrtrain.engine.devices import keep_compiled
    from lrtrain.testing.checks import outcomes
    from lrtrain.testing.subject import Subject

    # A schedule is compiled as hundreds of small programs, of which most plugins share many.
    keep_compiled()
    with read_once():
        print_results(find_plugin(name), outcomes(Subject(name, specs)), as_json=as_json)
