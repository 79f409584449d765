"""What the groups ``plugins`` and ``workloads`` show alike: entries, options, and the results of checks."""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from lrtrain.cli.tables import print_json, print_lines
from lrtrain.cli.terminal import printable
from lrtrain.plugins.discovery import WORDS, Entry

if TYPE_CHECKING:
    from lrtrain.testing.checks import CheckResult

_COLORS = {"passed": "green", "failed": "red", "skipped": "yellow"}


def identity(entry: Entry) -> dict[str, Any]:
    """Returns what is known of an entry without importing it."""
    return {name: getattr(entry, name) for name in ("name", "distribution", "version", "summary")}


def documentation(cls: type) -> str:
    """Returns the docstring; not the signature that a dataclass without one has in its place."""
    text = inspect.getdoc(cls) or ""
    return "(no documentation)" if not text or text.startswith(f"{cls.__name__}(") else text


def print_description(entry: Entry, facts: str, text: str, options: Sequence[dict[str, Any]]) -> None:
    """Prints the head of an entry, its documentation, and a table of its options."""
    head = f"{click.style(printable(entry.name), bold=True)}  ({printable(entry.origin())}; {facts})"
    click.echo("\n".join([head, "", *map(printable, text.splitlines()), ""]))
    if options:
        rows = [[each["name"], each["type"], each["default"] or "(required)", each["doc"]] for each in options]
        print_lines(["option", "type", "default", "meaning"], rows)
        click.echo()


def example_spec(name: str, options: Sequence[dict[str, Any]]) -> str:
    """Returns a spec: with the options that must be given, or else with the first that has a default."""
    given = [f"{each['name']}=..." for each in options if each["default"] is None]
    given = given or [f"{each['name']}={each['default']}" for each in options if each["default"] != "none"][:1]
    return f"{name}({', '.join(given)})" if given else name


def print_results(entry: Entry, results: Iterable[CheckResult], *, as_json: bool) -> None:
    """Prints the results of checks as they arrive; the exit code is 1 when one has failed."""
    found = []
    if not as_json:
        click.echo(f"{click.style(entry.name, bold=True)}  ({entry.origin()})")
    for result in results:
        found.append(result)
        if not as_json:
            click.echo(_line(result))
    counts = Counter[str](result.state for result in found)
    if as_json:
        print_json({WORDS[entry.group]: entry.name, "checks": [vars(each) for each in found]})
    else:
        click.echo(", ".join(f"{counts[state]} {state}" for state in _COLORS))
    if counts["failed"]:
        sys.exit(1)


def _line(result: CheckResult) -> str:
    title = result.check.replace("_", " ")
    reason = f": {printable(result.reason)}" if result.reason else ""
    return f"{click.style(result.state.ljust(7), fg=_COLORS[result.state])}  {title}{reason}"
