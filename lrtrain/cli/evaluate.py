"""``lrtrain evaluate``: the loss and the metrics of what a run has trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrtrain.cli.options import DIRECTORY, json_option
from lrtrain.cli.runs.group import complete_run, directory_option
from lrtrain.cli.tables import print_json
from lrtrain.cli.terminal import printable
from lrtrain.errors import UsageError


def _which(ctx: click.Context, param: click.Parameter, value: str) -> dict[str, Any]:
    """Returns the arguments of `lrtrain.load` for ``best``, ``last`` or a step."""
    if value in ("best", "last"):
        return {"best": value == "best"}
    if not (value.isascii() and value.isdecimal()):
        raise UsageError(f"--checkpoint {value} is refused: expected best, last or a step, such as 2350")
    return {"step": int(value)}


checkpoint_option = click.option(
    "--checkpoint",
    default="best",
    show_default=True,
    metavar="best|last|STEP",
    callback=_which,
    help="The checkpoint: best by the metric that the run is judged by, the newest, or that of a step.",
)
accept_option = click.option(
    "--accept-code-change", is_flag=True, help="Go on although the code of the model has changed."
)


@click.command("evaluate", short_help="Evaluate what a run has trained.")
@click.argument("run", shell_complete=complete_run)
@checkpoint_option
@click.option("--split", default="test", show_default=True, metavar="NAME", help="test, validation or train.")
@click.option("--dataset", metavar="NAME|PATH", help="Another data set than the run's.")
@click.option("--data-dir", type=DIRECTORY, metavar="DIR", help="Where data sets are prepared.")
@accept_option
@directory_option
@json_option
def command(
    run: str,
    checkpoint: dict[str, Any],
    split: str,
    dataset: str | None,
    data_dir: Path | None,
    accept_code_change: bool,
    directory: Path,
    as_json: bool,
) -> None:
    """Print loss and metrics of a checkpoint of RUN: on its test set, unless told otherwise.

    Nothing is written. On as many devices as the run had, the numbers are those that it logged after that step.

    \b
    Examples:
      lrtrain evaluate runs/sgdr-20260101-120000
      lrtrain evaluate sgdr-2026 --checkpoint last --json
    """
    from lrtrain.runs.reading import pick_run
    from lrtrain.runs.record import finite

    path = pick_run(run, directory).path
    from lrtrain.training.load import load

    trained = load(path, accept_code_change=accept_code_change, **checkpoint)
    means = trained.evaluate(split, dataset=dataset, data_dir=data_dir)
    if as_json:
        print_json(finite({"run": str(trained.run_dir), "step": trained.step, "split": split, **means}))
        return
    said = ", ".join(f"{split} {name} {value:.4f}" for name, value in means.items())
    click.echo(printable(f"{said}, with the checkpoint of step {trained.step}"))
