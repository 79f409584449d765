"""``lrtrain completion``: the script that makes a shell complete commands, options and plugin names."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

_SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command("completion", short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(list(_SHELLS)), metavar="SHELL")
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that makes SHELL (bash, zsh or fish) complete commands, options and names of plugins.

    For bash, put `eval "$(lrtrain completion bash)"` into ~/.bashrc; for zsh the same with zsh into ~/.zshrc; for fish,
    `lrtrain completion fish > ~/.config/fish/completions/lrtrain.fish`.
    """
    click.echo(_SHELLS[shell](ctx.find_root().command, {}, "lrtrain", "_LRTRAIN_COMPLETE").source())
