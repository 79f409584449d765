"""Packages with plugins: made, installed into the environment that lrtrain runs in, and uninstalled."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lrtrain.cli.options import complete_plugin
from lrtrain.cli.streams import results_kept
from lrtrain.cli.terminal import shown_path
from lrtrain.errors import LrtrainError, UsageError
from lrtrain.plugins.discovery import GROUP, WORKLOADS

if TYPE_CHECKING:
    from lrtrain.plugins.installer import Distribution, Installer


directory_option = click.option(
    "--directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to make it; must not be there yet. [default: lrtrain-NAME]",
)
author_option = click.option("--author", metavar="TEXT", help="Who holds the copyright. [default: git's user.name]")


@click.command("new", short_help="Make a package for a schedule of your own.")
@click.argument("name")
@directory_option
@author_option
def new(name: str, directory: Path | None, author: str | None) -> None:
    """Make a package with a schedule called NAME: a module, its test, a README, a licence (Apache-2.0).

    The package works as it is: its tests pass and lrtrain trains with it. Edit the formula in its module.

    \b
    Example:
      lrtrain plugins new sawtooth
    """
    make_package(GROUP, name, directory, author)


def make_package(group: str, name: str, directory: Path | None, author: str | None) -> None:
    """Makes a package with a plugin or a workload, and says what to type next."""
    from lrtrain.plugins.scaffold.package import Package, author_from_git

    package = Package.named(name, author if author is not None else author_from_git(), group)
    folder = directory if directory is not None else Path(package.distribution)
    try:
        files = package.write(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror or error}") from error
    # A word that a path begins with is no name of a package on an index.
    path = str(folder) if folder.is_absolute() else f"./{folder}"
    with results_kept(f"the package is made, in {folder}"):
        for file in files:
            click.echo(shown_path(folder / file))
        what, commands = _NEXT[group]
        click.echo(f"\n{what} in {shown_path(folder / package.module)}.py. Now type\n")
        click.echo(f"  lrtrain plugins install --editable {shlex.quote(path)}")
        for command in commands:
            click.echo(f"  lrtrain {command.format(package.name)}")


_NEXT = {
    GROUP: ("The formula is", ("plugins check {}", "plot --plugin {}", "--plugin {}")),
    WORKLOADS: ("Data and network are", ("workloads check {}", "--workload {} --plugin linear")),
}


@click.command("install", short_help="Install packages with plugins.")
@click.argument("packages", metavar="PKG_OR_PATH...", nargs=-1, required=True)
@click.option("--upgrade", "-U", is_flag=True, help="Take the newest version of what is installed already.")
@click.option("--editable", "-e", is_flag=True, help="Of folders: what is changed in them acts at once.")
def install(packages: tuple[str, ...], upgrade: bool, editable: bool) -> None:
    """Install packages with plugins, by name or path, into the environment that lrtrain runs in.

    It is done by pip or, where the environment has none, by uv.

    \b
    Examples:
      lrtrain plugins install lrtrain-sgdr
      lrtrain plugins install --editable ./lrtrain-sawtooth
    """
    from lrtrain.plugins.installer import asked_for, distributions, find_installer

    _refuse_options(packages)
    installer, before = find_installer(), distributions()
    flags = ["--upgrade"] if upgrade else []
    # --editable is an option with a value, so it may not stand behind "--".
    given = [f"--editable={package}" for package in packages] if editable else []
    installer.run([*installer.install, *flags, *given], () if editable else packages)
    after = distributions()
    _refuse_names_that_are_taken(installer, before, after)
    asked = [each for package in packages if (each := asked_for(package, after.values())) is not None]
    changed = [each for name, each in after.items() if each != before.get(name) and each.entries]
    came = {str(each): each for each in [*asked, *changed]}
    with results_kept("the packages are installed, and 'lrtrain plugins list' shows them"):
        for each in came.values():
            if each.entries:
                click.echo(f"{each} provides {each.provided}")
    _say_what_brings_nothing([each for each in came.values() if not each.entries], came)


@click.command("uninstall", short_help="Uninstall the packages of plugins.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_plugin)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def uninstall(names: tuple[str, ...], yes: bool) -> None:
    """Uninstall the packages that provide plugins; NAME is a plugin, a workload or a package.

    \b
    Example:
      lrtrain plugins uninstall sawtooth
    """
    from lrtrain.plugins.installer import distribution_of, find_installer

    _refuse_options(names)
    found = {each.name: each for each in map(distribution_of, names)}
    installer = find_installer()
    for each in found.values():
        click.echo(f"{each} provides {each.provided or 'no plugin'}")
    if not yes and not _confirmed(f"Uninstall {' and '.join(found)}?"):
        raise LrtrainError("nothing was uninstalled")
    installer.run(installer.uninstall, list(found))
    with results_kept("what was named is uninstalled"):
        click.echo(f"{' and '.join(found)} {'is' if len(found) == 1 else 'are'} uninstalled")


def _refuse_options(arguments: Sequence[str]) -> None:
    for argument in arguments:
        if argument.startswith("-") or not argument.strip() or not argument.isprintable():
            raise UsageError(f"{argument!r} is neither a package nor a path: it would be read as an option")


def _confirmed(question: str) -> bool:
    try:
        return click.confirm(question)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise UsageError("nobody is here to be asked: --yes uninstalls without asking") from None


def _refuse_names_that_are_taken(
    installer: Installer, before: Mapping[str, Distribution], after: Mapping[str, Distribution]
) -> None:
    """Uninstalls a new package if one of its plugins has the name of an installed one: neither could be used."""
    from lrtrain.plugins.installer import brought_twice

    known = brought_twice(before.values())
    twice = {title: found for title, found in brought_twice(after.values()).items() if title not in known}
    if not twice:
        return
    came = [each for name, each in after.items() if name not in before]
    title, found = next(iter(twice.items()))
    taken = f"{title} is provided by {' and '.join(map(str, found))}, so neither can be used"
    # A version that an upgrade has replaced may not be available any more.
    if not all(set(came).intersection(each) for each in twice.values()):
        raise LrtrainError(f"{taken}: lrtrain plugins uninstall takes one of these packages away")
    installer.run(installer.uninstall, [each.name for each in came])
    raise LrtrainError(f"{taken}: what was installed is uninstalled again; uninstall the other first, or rename yours")


def _say_what_brings_nothing(empty: Sequence[Distribution], came: object) -> None:
    if empty:
        names = " and ".join(each.name for each in empty)
        raise LrtrainError(
            f"{names} {'has' if len(empty) == 1 else 'have'} no lrtrain plugin and stays installed: "
            f"lrtrain plugins uninstall {' '.join(each.name for each in empty)} takes it away"
        )
    if not came:
        raise LrtrainError("what was installed has no lrtrain plugin")
