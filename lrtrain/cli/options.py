"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])


def complete_plugin(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Returns the names of installed plugins that begin so."""
    from lrtrain.discovery import find_plugins

    names = {entry.name: entry.summary for entry in find_plugins()}
    return [CompletionItem(name, help=summary) for name, summary in names.items() if name.startswith(incomplete)]


def plugin_option(*, required: bool = False) -> Callable[[F], F]:
    """Returns the option ``--plugin SPEC``, given once or several times."""
    return click.option(
        "--plugin",
        "plugins",
        metavar="SPEC",
        multiple=True,
        required=required,
        shell_complete=complete_plugin,
        help="A plugin by name, with options if wanted: sgdr, or 'sgdr(cycles=4, peak_value=1e-3)'. Repeatable.",
    )


def set_option() -> Callable[[F], F]:
    """Returns the option ``--set NAME=VALUE``."""
    return click.option(
        "--set",
        "settings",
        metavar="NAME=VALUE",
        multiple=True,
        help="An option of the schedule plugin, or PLUGIN.NAME=VALUE of any. Repeatable.",
    )


def json_option() -> Callable[[F], F]:
    """Returns the flag ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
