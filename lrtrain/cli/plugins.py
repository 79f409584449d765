"""``lrtrain plugins``: what is installed, and what one plugin is."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from lrtrain.cli.options import json_option
from lrtrain.discovery import Entry, duplicates, find_plugin, find_plugins
from lrtrain.errors import LrtrainError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STEPS, _STEPS_PER_EPOCH = 2350, 235


@click.group("plugins", short_help="List the installed plugins, or show one.", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List the installed plugins, or show what one does and takes."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_plugins, load=False, as_json=False)


@command.command("list", short_help="List the installed plugins.")
@click.option("--load", is_flag=True, help="Import each plugin, and show its hooks or why it fails.")
@json_option()
def list_plugins(load: bool, as_json: bool) -> None:
    """List the installed plugins with the packages that bring them.

    Nothing is imported, so a broken plugin does no harm; --load imports each one.
    """
    entries = find_plugins()
    twice = duplicates(entries)
    rows = [_row(entry, twice, load=load) for entry in entries]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("no plugin is installed: pip install 'lrtrain[all]' brings those of lrtrain")
        return
    columns = (
        ["name", "distribution", "version", "hooks", "summary"]
        if load
        else ["name", "distribution", "version", "summary"]
    )
    click.echo(_table(columns, [[_cell(row, column) for column in columns] for row in rows]))


@command.command("show", short_help="Show one plugin: what it does, its options, its curve.")
@click.argument("name")
@json_option()
def show(name: str, as_json: bool) -> None:
    """Show the documentation of plugin NAME, its options, an example, and its curve over a run of ten epochs."""
    from lrtrain.options import options_of
    from lrtrain.plugins import hooks_of, load_class

    entry = find_plugin(name)
    plugin = load_class(entry)
    hooks, options = hooks_of(plugin), [vars(option) for option in options_of(plugin)]
    documentation = inspect.getdoc(plugin) or ""
    example = _example(entry, options)
    curve = _curve(entry) if "build_schedule" in hooks else None
    if as_json:
        shown = {
            **_identity(entry),
            "hooks": hooks,
            "documentation": documentation,
            "options": options,
            "example": example,
        }
        shown["curve"] = None if curve is None else {"steps": _STEPS, "learning_rates": [float(str(x)) for x in curve]}
        click.echo(json.dumps(shown, indent=2))
        return
    click.echo(
        f"{click.style(entry.name, bold=True)}  ({entry.origin()}; hooks: {', '.join(hooks)})\n\n{documentation}\n"
    )
    if options:
        rows = [[each["name"], each["type"], each["default"] or "(required)", each["doc"]] for each in options]
        click.echo(_table(["option", "type", "default", "meaning"], rows) + "\n")
    click.echo(f"Example\n  {example}\n")
    if curve is not None:
        from lrtrain.cli.terminal import draw

        click.echo(f"Learning rate over 10 epochs of {_STEPS_PER_EPOCH} steps, with the defaults")
        click.echo(draw({entry.name: curve}))


def _identity(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "summary": entry.summary,
    }


def _row(entry: Entry, twice: Iterable[str], *, load: bool) -> dict[str, Any]:
    row = {**_identity(entry), "duplicate": entry.name in twice}
    if load:
        from lrtrain.plugins import hooks_of, load_class

        try:
            row |= {"hooks": list(hooks_of(load_class(entry))), "error": None}
        except LrtrainError as error:
            row |= {"hooks": [], "error": str(error)}
    return row


def _cell(row: dict[str, Any], column: str) -> str:
    if column == "hooks":
        return f"broken: {row['error']}" if row["error"] else ", ".join(row["hooks"])
    mark = " (duplicate)" if column == "name" and row["duplicate"] else ""
    return str(row[column]) + mark


def _example(entry: Entry, options: Sequence[dict[str, Any]]) -> str:
    with_default = [each for each in options if each["default"] not in (None, "none")]
    inner = f"({with_default[0]['name']}={with_default[0]['default']})" if with_default else ""
    return f"lrtrain --plugin '{entry.name}{inner}' --epochs 3" if inner else f"lrtrain --plugin {entry.name}"


def _curve(entry: Entry) -> NDArray[np.float32] | None:
    from lrtrain.plugins import activate
    from lrtrain.schedules import build_table, make_context

    return build_table(activate([entry.name]), make_context(_STEPS, _STEPS_PER_EPOCH)).values


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns rows in columns; the last column takes what it needs."""
    widths = [max(len(row[index]) for row in [header, *rows]) for index in range(len(header) - 1)]
    lines = [header, *rows]
    texts = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]) for line in lines
    ]
    return "\n".join([click.style(texts[0], bold=True), *texts[1:]])
