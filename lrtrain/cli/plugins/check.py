"""``lrtrain plugins check``: whether a plugin passes all checks of `lrtrain.testing`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from lrtrain.cli.options import complete_plugin, json_option

if TYPE_CHECKING:
    from lrtrain.testing.checks import CheckResult

_COLORS = {"passed": "green", "failed": "red", "skipped": "yellow"}


@click.command("check", short_help="Check that a plugin behaves: its hooks, curves, options, documentation.")
@click.argument("name", shell_complete=complete_plugin)
@click.option(
    "--spec",
    "specs",
    multiple=True,
    metavar="SPEC",
    help="Further example of the plugin, with options; may be repeated. The bare name is always checked.",
)
@json_option()
def check(name: str, specs: Sequence[str], as_json: bool) -> None:
    """Run all checks of lrtrain.testing on plugin NAME, and say which failed and why.

    The exit code is 1 when a check failed. A check that has nothing to look at is skipped.
    """
    from lrtrain.plugins.discovery import find_plugin
    from lrtrain.testing.checks import outcomes
    from lrtrain.testing.subject import Subject

    entry = find_plugin(name)
    found = []
    if not as_json:
        click.echo(f"{click.style(entry.name, bold=True)}  ({entry.origin()})")
    for outcome in outcomes(Subject(name, specs)):
        found.append(outcome)
        if not as_json:
            click.echo(_line(outcome))
    failed = sum(outcome.state == "failed" for outcome in found)
    if as_json:
        click.echo(json.dumps({"plugin": entry.name, "checks": [vars(each) for each in found]}, indent=2))
    else:
        passed = sum(outcome.state == "passed" for outcome in found)
        click.echo(f"{passed} passed, {failed} failed, {len(found) - passed - failed} skipped")
    if failed:
        sys.exit(1)


def _line(outcome: CheckResult) -> str:
    from lrtrain.cli.terminal import printable

    title = outcome.check.replace("_", " ")
    reason = f": {printable(outcome.reason)}" if outcome.reason else ""
    return f"{click.style(outcome.state.ljust(7), fg=_COLORS[outcome.state])}  {title}{reason}"
