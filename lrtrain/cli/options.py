"""Options that several commands share; those of training are the fields of `lrtrain.runs.train_config.TrainConfig`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from lrtrain.option_fields import OptionField, option_fields
from lrtrain.runs.train_config import WORKLOADS_OWN, TrainConfig

if TYPE_CHECKING:
    from lrtrain.engine.connection import Distributed

F = TypeVar("F", bound=Callable[..., Any])
DIRECTORY = click.Path(file_okay=False, path_type=Path)


def complete_plugin(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Returns the names of installed plugins that begin so."""
    from lrtrain.plugins.discovery import GROUP

    return _names_of(GROUP, incomplete)


def complete_workload(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Returns the names of installed workloads that begin so."""
    from lrtrain.plugins.discovery import WORKLOADS

    return _names_of(WORKLOADS, incomplete)


def _names_of(group: str, incomplete: str) -> list[CompletionItem]:
    from lrtrain.plugins.discovery import find_plugins

    names = {entry.name: entry.summary for entry in find_plugins(group)}
    return [CompletionItem(name, help=summary) for name, summary in names.items() if name.startswith(incomplete)]


class ListGroup(click.Group):
    """Takes ``list`` when no command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Names it before options, too."""
        names_none = not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        if names_none and not ctx.resilient_parsing:
            args = ["list", *args]
        return super().parse_args(ctx, args)


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


def together(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """Returns options as one decorator, in this order."""

    def decorate(function: F) -> F:
        for each in reversed(options):
            function = each(function)
        return function

    return decorate


set_option = click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    help="An option of the schedule plugin, or PLUGIN.NAME=VALUE of any. Repeatable.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
distributed_options = together(
    click.option(
        "--distributed",
        is_flag=True,
        help="Train with the other processes of a cluster (SLURM, Open MPI, Kubernetes), or with those that the "
        "next three options name; --devices is then the number of each process.",
    ),
    click.option("--coordinator", metavar="HOST:PORT", help="With --distributed: where process 0 listens."),
    click.option("--num-processes", type=int, metavar="N", help="With --distributed: how many processes there are."),
    click.option("--process-id", type=int, metavar="I", help="With --distributed: which one this is, from 0."),
)
"""The options of `lrtrain.Distributed`, which `as_distributed` reads."""


def as_distributed(ctx: click.Context) -> Distributed | None:
    """Returns where this process stands, as the options say; None when it trains alone."""
    from lrtrain.engine.connection import Distributed

    place = [ctx.params[name] for name in ("coordinator", "num_processes", "process_id")]
    if ctx.params["distributed"]:
        return Distributed(*place)
    if place != [None, None, None]:
        raise click.UsageError("--coordinator, --num-processes and --process-id go with --distributed: add it")
    return None


def train_options(*, compared: bool = False, **others: Any) -> Callable[[F], F]:
    """Returns the options of `TrainConfig`, or those of a comparison; ``others`` replace those of their fields."""
    fields = [field for field in option_fields(TrainConfig) if field.in_comparisons or not compared]
    return together(*(others.get(field.name) or _option_of(field) for field in fields))


def _option_of(field: OptionField) -> Callable[[F], F]:
    if field.kind is bool:
        # Not named as the field: click reads a flag that sets false in another way in each of its versions.
        return click.option(field.flag, is_flag=True, help=field.help)
    kind: Any = click.Choice(field.choices) if field.choices else DIRECTORY if field.kind is Path else field.kind
    return click.option(
        field.flag,
        type=kind,
        metavar=field.metavar,
        default=field.default,
        show_default=shown_default(field.name, field.default),
        shell_complete=_completion(field),
        help=field.help,
    )


def shown_default(name: str, default: Any) -> bool | str:
    """Returns how help shows a default: some are those of the default workload, and another one has its own."""
    return f"{default}, or the workload's" if name in WORKLOADS_OWN else default is not None


def _complete(known: Sequence[str], ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in known if name.startswith(incomplete)]


def _completion(field: OptionField) -> Callable[..., Any] | None:
    if field.name == "workload":
        return complete_workload
    return functools.partial(_complete, field.known) if field.known else None


def options_given(ctx: click.Context) -> set[str]:
    """Returns the names of the options that stand on the command line."""
    default = click.core.ParameterSource.DEFAULT
    return {name for name in ctx.params if ctx.get_parameter_source(name) is not default}


def train_options_given(ctx: click.Context) -> dict[str, Any]:
    """Returns the fields of `lrtrain.runs.train_config.TrainConfig` that stand on the command line, by name."""
    fields = {field.flag.removeprefix("--").replace("-", "_"): field for field in option_fields(TrainConfig)}
    given = options_given(ctx)
    return {
        field.name: not field.default if field.kind is bool else ctx.params[name]
        for name, field in fields.items()
        if name in given
    }
