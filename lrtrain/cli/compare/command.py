"""``lrtrain compare``: which schedule is better, and how sure that is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrtrain.cli.options import (
    DIRECTORY,
    as_distributed,
    distributed_options,
    json_option,
    options_given,
    plugin_option,
    train_options,
    train_options_given,
)
from lrtrain.errors import LrtrainError
from lrtrain.extras import check_extra
from lrtrain.runs.train_config import TrainConfig, resolved

if TYPE_CHECKING:
    from lrtrain.comparison.plan import Plan

_BUDGETS = ("quick", "standard", "thorough")
_SORTS = ("given", "accuracy", "loss", "seconds")
# Of these, none goes with a plan that is read from a file or found in a directory.
_OF_THE_PLAN = (
    "plugins",
    "all_plugins",
    "budget",
    "lr_scales",
    "tuning_seeds",
    "seeds",
    "refine",
    "exhaustive",
    "holdout",
    "baseline",
    "all_pairs",
)
# Nor do these change what is compared.
_OF_THE_OUTPUT = {"sort", "quiet", "as_json", "distributed", "coordinator", "num_processes", "process_id"}


class _Sort(click.Choice[str]):
    """One of `_SORTS`, or any other text: the name of the number that a workload is judged by, which is known later."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value


def _numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is refused: expected numbers with commas between, as 0.5,1,2") from None


@click.command("compare", short_help="Train several schedules under equal conditions and say which is better.")
@plugin_option()
@click.option("--all-plugins", is_flag=True, help="Every installed schedule that needs no options.")
@click.option("--preset", metavar="NAME", help="A comparison that comes with lrtrain: tutorial.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.toml",
    help="A comparison in a file, in the format of the presets.",
)
@click.option("--show-preset", metavar="NAME", help="Print a preset, to be copied and changed, and train nothing.")
@click.option(
    "--budget",
    type=click.Choice(_BUDGETS),
    default="standard",
    show_default=True,
    help="How much evidence: sets scales, seeds and epochs.",
)
@click.option(
    "--lr-scales",
    metavar="NUMBERS",
    callback=_numbers,
    help="Factors on the workload's learning rate that the highest one of each schedule is tuned over.",
)
@click.option("--tuning-seeds", type=int, metavar="N", help="Runs at each scale near the best one.")
@click.option("--seeds", type=int, metavar="N", help="The most fresh runs of each schedule at its best scale.")
@click.option(
    "--refine/--no-refine",
    default=True,
    help="Whether more scales are tried around the best one; else the best of --lr-scales is taken. [default: refine]",
)
@click.option(
    "--exhaustive",
    is_flag=True,
    help="Train all tuning seeds at every scale, and all seeds of every schedule, whatever the first of them show.",
)
@click.option("--holdout", type=int, metavar="N", help="Training examples held out. [default: a twelfth]")
@click.option("--baseline", metavar="LABEL", help="What the others are measured against. [default: best of the tuning]")
@click.option("--all-pairs", is_flag=True, help="Compare every schedule with every other.")
@train_options(
    compared=True,
    epochs=click.option("--epochs", type=int, help="Passes over the training set. [default: as the budget says]"),
    seed=click.option("--seed", type=int, default=TrainConfig.seed, show_default=True, help="The first seed."),
)
@click.option("--run-dir", type=DIRECTORY, metavar="DIR", help="Where to write; new or empty. [default: runs/...]")
@click.option("--resume", is_flag=True, help="Continue the comparison in --run-dir; runs that are done stay.")
@click.option("--merge", type=DIRECTORY, metavar="DIR", multiple=True, help="Put comparisons together. Repeatable.")
@distributed_options
@click.option("--sort", type=_Sort(_SORTS), default="given", show_default=True, help="Order of the table.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but the table.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    show_preset: str | None,
    run_dir: Path | None,
    resume: bool,
    merge: tuple[Path, ...],
    sort: str,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train several schedules under equal conditions and say what the evidence supports.

    Each schedule is tuned over the same learning-rate scales on held-out data, and then measured on seeds that the
    tuning has not seen, the same for all. A comparison that is interrupted is continued with --resume.

    \b
    Examples:
      lrtrain compare --budget quick --plugin constant --plugin sgdr --plugin wsd --train-size 6000
      lrtrain compare --preset tutorial
      lrtrain compare --plugin 'wsd(decay_steps=20%)' --plugin 'wsd(decay_steps=40%)' --seeds 16
      lrtrain compare --plugin constant --plugin 'constant + reduce-on-plateau'
      lrtrain compare --resume --run-dir runs/compare-20260101-120000
    """
    if show_preset is not None:
        from lrtrain.comparison.plan_file import preset_text, read_preset

        read_preset(show_preset)
        click.echo(preset_text(show_preset), nl=False)
        return
    joined = as_distributed(ctx)
    from lrtrain.cli.compare.progress import ComparisonReporter, show
    from lrtrain.cli.progress import reporting
    from lrtrain.comparison.conduct import compare_plan
    from lrtrain.comparison.merging import merge as merge_comparisons
    from lrtrain.engine.connection import is_main, refusals_told

    given = options_given(ctx) - _OF_THE_OUTPUT
    with refusals_told(joined):
        check_extra("compare", "a comparison")
        plan = None if resume or merge else _plan(given, train_options_given(ctx), options)
        if resume or merge:
            _refuse(given, "with --resume" if resume else "with --merge", resume, merge)
        if merge and joined is not None:
            raise click.UsageError(
                "--merge cannot be given with --distributed: merge first, then --resume what was made"
            )
        if sort not in _SORTS:
            _check_sort(ctx, sort, plan, run_dir)
    if merge:
        run_dir, resume = merge_comparisons(merge, run_dir).path, True
    directory = run_dir if resume else None
    with reporting(ComparisonReporter, quiet=quiet or as_json, work="comparison", directory=directory) as reporter:
        comparison = compare_plan(plan, directory=run_dir, resume=resume, reporter=reporter, distributed=joined)
    if is_main():
        from lrtrain.report.write import write_results

        show(comparison, write_results(comparison), sort=sort, as_json=as_json)


def _check_sort(ctx: click.Context, sort: str, plan: Plan | None, directory: Path | None) -> None:
    """Refuses what is not the name of the number that the comparison is judged by; see `_SORTS` for the others."""
    from lrtrain.comparison.store import Store
    from lrtrain.workloads.headline import ACCURACY, headline_in

    headline = ACCURACY
    if plan is not None:
        headline = plan.workload.workload.headline
    elif directory is not None and Store(directory).plan.is_file():
        headline = headline_in(Store(directory).read()[1])
    option = next(each for each in ctx.command.params if each.name == "sort")
    click.Choice([*dict.fromkeys((*_SORTS, headline.name))]).convert(sort, option, ctx)


def _refuse(given: set[str], where: str, resume: bool, merge: Sequence[Path]) -> None:
    if resume and merge:
        raise click.UsageError("--resume and --merge exclude each other: merge first, then resume what was made")
    others = sorted(given - {"run_dir", "resume", "merge"})
    if others:
        raise click.UsageError(f"{_flag(others[0])} cannot be given {where}: the plan is in the directory")


def _flag(name: str) -> str:
    return {"plugins": "--plugin", "config_file": "--config"}.get(name, f"--{name.replace('_', '-')}")


def _plan(given: set[str], train: dict[str, Any], options: dict[str, Any]) -> Plan:
    """Returns the plan that the command line asks for."""
    from lrtrain.comparison.plan_file import read_plan, read_preset
    from lrtrain.workloads.loading import load_workload
    from lrtrain.workloads.models import load_model

    sources = [name for name in ("preset", "config_file") if options[name] is not None]
    if len(sources) == 2:
        raise click.UsageError("--preset and --config exclude each other: name one of them")
    if not sources:
        return _own_plan(train, options)
    clash = sorted(given & set(_OF_THE_PLAN))
    if clash:
        raise click.UsageError(f"{_flag(clash[0])} cannot be given with a preset or file, which says it")
    plan = read_preset(options["preset"]) if options["preset"] else read_plan(options["config_file"])
    if "workload" in train:
        train["workload"] = load_workload(train["workload"]).spec
    if "model" in train:
        train["model"] = (model := load_model(train["model"])) and model.spec
    changed = dataclasses.replace(plan.train, **resolved(train))
    return dataclasses.replace(plan, train=changed, effort=dataclasses.replace(plan.effort, epochs=changed.epochs))


def _own_plan(train: dict[str, Any], options: dict[str, Any]) -> Plan:
    from lrtrain.comparison.plan import Plan, effort_of
    from lrtrain.comparison.rows import labelled
    from lrtrain.training.configure import configured

    specs: list[Any] = [*options["plugins"], *(_all_plugins() if options["all_plugins"] else [])]
    if not specs:
        raise click.UsageError(
            "nothing to compare was named: add --plugin SPEC twice or more, --all-plugins, or --preset tutorial"
        )
    rows = labelled(specs)
    for row in rows[: len(options["plugins"])]:
        row.check()
    given = {name: options[name] for name in ("tuning_seeds", "seeds", "refine", "exhaustive", "epochs")}
    config, chosen = configured({**train, **({} if given["epochs"] is None else {"epochs": given["epochs"]})})
    effort = effort_of(options["budget"], config.epochs, scales=options["lr_scales"], **given)
    config = dataclasses.replace(config, epochs=effort.epochs)
    shown = (effort, options["holdout"], options["baseline"], options["all_pairs"])
    plan = Plan(rows, config, "fair", *shown, chosen=chosen)
    plan.check()
    return plan


def _all_plugins() -> list[str]:
    """Returns the installed schedules that need no options, broken ones included: they become rows that say so."""
    from lrtrain.plugins.discovery import find_plugins
    from lrtrain.plugins.loading import hooks_of, load_class
    from lrtrain.plugins.options import make

    names = []
    for entry in find_plugins():
        try:
            loaded = load_class(entry)
        except LrtrainError:
            names.append(entry.name)
            continue
        if "build_schedule" in hooks_of(loaded):
            with suppress(LrtrainError):
                make(loaded, entry.title, {})
                names.append(entry.name)
    return names
