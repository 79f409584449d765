"""``lrtrain runs``: the runs on disk and their results, and the removal of those no longer needed."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from lrtrain.cli.options import DIRECTORY, ListGroup, complete_plugin, json_option
from lrtrain.cli.streams import results_kept
from lrtrain.cli.tables import print_json
from lrtrain.cli.terminal import printable
from lrtrain.errors import UsageError, nearest
from lrtrain.plugins.spec import normal_name

if TYPE_CHECKING:
    from lrtrain.runs.record import Run

_DIRECTORY = Path("runs")


def _by_headline(run: Run) -> tuple[bool, bool, str, float]:
    """Returns what runs are sorted by: accuracies first, then each other number on its own, the best of it first."""
    by, value = run.headline, run.score
    known = not math.isnan(value)
    return not known, known and by.name != "accuracy", by.name if known else "", by.rank(value) if known else 0.0


# The best, the longest and the largest first; names and beginnings in their own order.
_SORTS: dict[str, Callable[[Run], Any]] = {
    "started": lambda run: run.head.started.timestamp() if run.head and run.head.started else math.inf,
    "name": lambda run: run.name,
    "plugin": lambda run: str(run.head.schedule) if run.head else "~",
    "state": lambda run: run.state,
    "epochs": lambda run: -len(run.epochs),
    "accuracy": _by_headline,
    "loss": lambda run: run.last.loss if run.last and not math.isnan(run.last.loss) else math.inf,
    "peak-lr": lambda run: -(run.peak_learning_rate or 0),
    "time": lambda run: -run.seconds,
    "size": lambda run: -run.size,
}
directory_option = click.option(
    "--dir",
    "directory",
    type=DIRECTORY,
    default=_DIRECTORY,
    show_default=True,
    metavar="DIR",
    help="Where the runs are.",
)


def complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Returns the names of runs that begin so."""
    from lrtrain.runs.reading import run_paths

    names = sorted(run_paths(Path(ctx.params.get("directory") or _DIRECTORY)))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.group("runs", cls=ListGroup, short_help="List, show, compare and remove runs.")
def command() -> None:
    """List the runs that are on disk, show or compare some, or remove what is no longer needed.

    `lrtrain runs` is short for `lrtrain runs list`. A run is named by its path, by its name under --dir, or by the
    beginning of that name.
    """


@command.command("list", short_help="List the runs with their results.")
@directory_option
@click.option("--plugin", metavar="NAME", shell_complete=complete_plugin, help="Only runs that a plugin takes part in.")
@click.option("--all", "everything", is_flag=True, help="Also the runs of comparisons, which may be hundreds.")
@click.option(
    "--sort", type=click.Choice(list(_SORTS)), default="started", show_default=True, help="Order of the runs."
)
@json_option
def list_runs(directory: Path, plugin: str | None, everything: bool, sort: str, as_json: bool) -> None:
    """List the runs in --dir with their results; the runs of comparisons below it with --all.

    Accuracy and loss are those after the last epoch, on the test set, or (val) on the examples that a comparison holds
    out; a run that is judged by another number has its name beside it. Peak lr is the highest learning rate applied;
    time is that of training and evaluation.
    """
    from lrtrain.cli.runs.views import show_list
    from lrtrain.runs.reading import find_runs
    from lrtrain.runs.record import finite

    if not directory.is_dir() and directory != _DIRECTORY:
        raise UsageError(f"--dir {directory} is not there: give a directory with runs")
    runs = sorted(find_runs(directory), key=_SORTS[sort])
    matching = [run for run in runs if plugin is None or _takes_part(plugin, run)]
    chosen = [run for run in matching if everything or not _within_comparison(run, directory)]
    left_out = len(matching) - len(chosen)
    if as_json:
        print_json(finite([run.to_json() for run in chosen]))
        return
    if chosen:
        show_list(chosen)
    elif not left_out:
        click.echo(_nothing(directory, plugin, runs))
    if left_out:
        click.echo(f"{left_out} run{'s' * (left_out > 1)} of comparisons not shown: --all lists them too")


def _within_comparison(run: Run, directory: Path) -> bool:
    """Returns whether a run belongs to a comparison that is below a directory."""
    comparison = run.path.absolute().parent.parent
    return directory.absolute() in comparison.parents and (comparison / "comparison.json").is_file()


@command.command("show", short_help="Show one run: configuration, epochs, how to train it again.")
@click.argument("run", shell_complete=complete_run)
@directory_option
@json_option
def show(run: str, directory: Path, as_json: bool) -> None:
    """Show the configuration of RUN, its epochs, and the command that trains it again."""
    from lrtrain.cli.runs.views import show_run
    from lrtrain.runs.command import reproduce
    from lrtrain.runs.differences import to_json
    from lrtrain.runs.reading import pick_run
    from lrtrain.runs.record import finite

    chosen = pick_run(run, directory)
    if as_json:
        recipe = reproduce(chosen)
        again = {"command": shlex.join(recipe.words) or None, "no_command": recipe.obstacle}
        print_json(finite({**to_json(chosen), **again}))
        return
    show_run(chosen)


@command.command("compare", short_help="Compare runs: what differs, and the result of each.")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...", shell_complete=complete_run)
@directory_option
@click.option("--epochs", is_flag=True, help="Accuracy and loss after every epoch, too.")
@json_option
def compare(runs: tuple[str, ...], directory: Path, epochs: bool, as_json: bool) -> None:
    """Compare runs that are there: where their configurations differ, and their results side by side.

    Which of two schedules is better, and how sure that is, takes more than one run of each: see `lrtrain compare`.
    """
    from lrtrain.cli.runs.views import show_comparison
    from lrtrain.runs.differences import differences, to_json, unequal_conditions
    from lrtrain.runs.record import finite

    chosen = _chosen(runs, directory)
    if len(chosen) < 2:
        raise UsageError("one run is given, and a comparison needs two or more: name another")
    names = _names(chosen)
    if as_json:
        found = {
            "differences": {key: dict(zip(names, values, strict=True)) for key, values in differences(chosen).items()},
            "notes": unequal_conditions(chosen, names),
            "runs": {name: to_json(run) if epochs else run.to_json() for name, run in zip(names, chosen, strict=True)},
        }
        print_json(finite(found))
        return
    show_comparison(chosen, names, epochs=epochs)


@command.command("remove", short_help="Remove runs with all their own files.")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_run)
@directory_option
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def remove(runs: tuple[str, ...], directory: Path, yes: bool) -> None:
    """Remove runs with their checkpoints and all other files of their own, for good.

    A directory is removed only if it is that of a run and no process is writing to it. What is in it and not known to
    be the run's, such as what a plugin has written, is named and stays.
    """
    from lrtrain.cli.runs.views import size
    from lrtrain.runs.removal import check_removable

    chosen = _chosen(runs, directory)
    for run in chosen:
        check_removable(run.path)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nothing is removed: without a terminal to ask on, --yes has to be given")
        for run in chosen:
            click.echo(f"{printable(str(run.path))}  ({run.state}, {size(run.size)})")
        what = "this run" if len(chosen) == 1 else f"these {len(chosen)} runs"
        if not click.confirm(f"Remove {what} for good?"):
            click.echo("nothing is removed")
            sys.exit(1)
    freed = sum(_remove(run.path) for run in chosen)
    if len(chosen) > 1:
        click.echo(f"{size(freed)} freed")


def _remove(path: Path) -> int:
    """Removes a run and says so; returns the bytes that are free."""
    from lrtrain.cli.runs.views import size
    from lrtrain.runs.removal import remove_run

    freed, kept = remove_run(path)
    with results_kept(f"{path} is removed, and no run that is named after it"):
        click.echo(f"removed {printable(str(path))}  ({size(freed)})")
        for each in kept:
            click.echo(f"kept {printable(str(each))}  (not known to be the run's own)")
    return freed


def _chosen(texts: Sequence[str], directory: Path) -> list[Run]:
    from lrtrain.runs.reading import pick_run

    runs = [pick_run(text, directory) for text in texts]
    places = [run.path.resolve() for run in runs]
    for place, run in zip(places, runs, strict=True):
        if places.count(place) > 1:
            raise UsageError(f"{run.path} is named twice: name it once")
    return runs


def _names(runs: Sequence[Run]) -> list[str]:
    """Returns a name for each run that no other has."""
    names = [run.name for run in runs]
    return [str(run.path) if names.count(run.name) > 1 else run.name for run in runs]


def _takes_part(plugin: str, run: Run) -> bool:
    return run.head is not None and normal_name(plugin) in {normal_name(spec.name) for spec in run.head.plugins}


def _nothing(directory: Path, plugin: str | None, runs: Sequence[Run]) -> str:
    if not runs:
        return f"no run in {printable(str(directory))}: 'lrtrain --plugin sgdr' trains one"
    used = sorted({spec.name for run in runs if run.head for spec in run.head.plugins})
    return printable(
        f"no run in {directory} has plugin '{plugin}'{nearest(str(plugin), used)}: they have {', '.join(used)}"
    )
