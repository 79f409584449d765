"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from lrtrain.engine.processes import Distributed

F = TypeVar("F", bound=Callable[..., Any])


def complete_plugin(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Returns the names of installed plugins that begin so."""
    from lrtrain.plugins.discovery import find_plugins

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


def distributed_options() -> Callable[[F], F]:
    """Returns the options of `lrtrain.Distributed`, which `as_distributed` reads."""
    options = (
        click.option(
            "--distributed",
            is_flag=True,
            help="Train with the other processes of a cluster (SLURM, Open MPI, Kubernetes), or with those that the "
            "next three options name; --devices is then the number of each process.",
        ),
        click.option("--coordinator", metavar="HOST:PORT", help="With --distributed: where process 0 listens."),
        click.option(
            "--num-processes", type=int, metavar="N", help="With --distributed: how many processes there are."
        ),
        click.option("--process-id", type=int, metavar="I", help="With --distributed: which one this is, from 0."),
    )

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def as_distributed(
    distributed: bool, coordinator: str | None, num_processes: int | None, process_id: int | None
) -> Distributed | None:
    """Returns where this process stands, as the options say; None when it trains alone."""
    from lrtrain.engine.processes import Distributed

    if distributed:
        return Distributed(coordinator, num_processes, process_id)
    if (coordinator, num_processes, process_id) != (None, None, None):
        raise click.UsageError("--coordinator, --num-processes and --process-id go with --distributed: add it")
    return None
