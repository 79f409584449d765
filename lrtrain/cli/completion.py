"""``lrtrain completion``: the script that makes a shell complete commands, options and plugin names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion", short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="SHELL")
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that makes SHELL (bash, zsh or fish) complete commands, options and names of plugins.

    For bash, put `eval "$(lrtrain completion bash)"` into ~/.bashrc; for zsh the same with zsh into ~/.zshrc; for fish,
    `lrtrain completion fish > ~/.config/fish/completions/lrtrain.fish`.
    """
    completion = get_completion_class(shell)
    if completion is None:
        raise click.ClickException(f"click has no completion for {shell}")
    click.echo(completion(ctx.find_root().command, {}, "lrtrain", "_LRTRAIN_COMPLETE").source())
