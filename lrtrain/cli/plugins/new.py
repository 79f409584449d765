"""``lrtrain plugins new``: a package for a schedule of one's own, complete and working."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lrtrain.cli.streams import results_kept
from lrtrain.cli.terminal import shown_path
from lrtrain.errors import UsageError

if TYPE_CHECKING:
    from lrtrain.plugins.scaffold.package import Package


@click.command("new", short_help="Make a package for a schedule of your own.")
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to make it; must not be there yet. [default: lrtrain-NAME]",
)
@click.option("--author", metavar="TEXT", help="Who holds the copyright. [default: git's user.name]")
def new(name: str, directory: Path | None, author: str | None) -> None:
    """Make a package with a schedule called NAME: a module, its test, a README, a licence (Apache-2.0).

    The package works as it is: its tests pass and lrtrain trains with it. Edit the formula in its module.

    \b
    Example:
      lrtrain plugins new sawtooth
    """
    from lrtrain.plugins.scaffold.package import Package, author_from_git

    package = Package.named(name, author if author is not None else author_from_git())
    folder = directory if directory is not None else Path(package.distribution)
    try:
        files = package.write(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror or error}") from error
    with results_kept(f"the package is made, in {folder}"):
        _show(package, folder, files)


def _show(package: Package, folder: Path, files: Sequence[str]) -> None:
    for file in files:
        click.echo(shown_path(folder / file))
    click.echo(f"\nThe formula is in {shown_path(folder / package.module)}.py. Now type\n")
    for line in _next(package.name, folder):
        click.echo(f"  {line}")


def _next(name: str, folder: Path) -> tuple[str, ...]:
    # A word that a path begins with is no name of a package on an index.
    path = str(folder) if folder.is_absolute() else f"./{folder}"
    return (
        f"lrtrain plugins install --editable {shlex.quote(path)}",
        f"lrtrain plugins check {name}",
        f"lrtrain plot --plugin {name}",
        f"lrtrain --plugin {name}",
    )
