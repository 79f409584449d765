"""``lrtrain find-lr``: which learning rates a network can be trained with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrtrain.cli.options import (
    json_option,
    plugin_option,
    set_option,
    shown_default,
    train_options,
    train_options_given,
)
from lrtrain.cli.output import check_output, force_option, output_option, write_output
from lrtrain.cli.tables import print_json, print_table
from lrtrain.cli.terminal import shown_path
from lrtrain.errors import TrainingError
from lrtrain.plugins.spec import normal_name
from lrtrain.runs.train_config import TrainConfig

if TYPE_CHECKING:
    from lrtrain.range_test.find_lr import RangeTest

_ROWS_PER_DECADE = 4


@click.command("find-lr", short_help="Find a learning rate for a schedule, by a range test.")
@plugin_option(required=True)
@set_option
@click.option("--start-lr", type=float, metavar="LR", help="First learning rate. [default: see above]")
@click.option("--end-lr", type=float, metavar="LR", help="Last learning rate. [default: see above]")
@click.option("--steps", type=int, default=400, show_default=True, help="Optimizer updates from one to the other.")
@train_options(
    epochs=click.option(
        "--epochs",
        type=int,
        default=TrainConfig.epochs,
        show_default=shown_default("epochs", TrainConfig.epochs),
        help="Length of the run that the schedule is for.",
    )
)
@output_option()
@force_option
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but what is found.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    plugins: tuple[str, ...],
    settings: tuple[str, ...],
    start_lr: float | None,
    end_lr: float | None,
    steps: int,
    output: Path | None,
    force: bool,
    quiet: bool,
    as_json: bool,
    **_: Any,
) -> None:
    """Train a fresh network at a learning rate that grows until the loss diverges, and suggest one for a schedule.

    Nothing is written but --output, and no run is touched. The schedule of the plugin is not applied: what is printed
    is the factor that makes its highest learning rate equal to the suggestion.

    The test goes from 1e-4 to 10, with --loss-reduction sum both divided by --batch-size; with an optimizer that
    divides by the size of the gradient, such as adam, from 1e-6 to 1.

    \b
    Examples:
      lrtrain find-lr --plugin sgdr
      lrtrain find-lr --plugin wsd --optimizer adam --output range.png
      lrtrain find-lr --plugin linear --loss-reduction mean --start-lr 1e-3 --json
    """
    if output is not None:
        check_output(output, force=force)
    from lrtrain.cli.progress import RunReporter, reporting
    from lrtrain.range_test.find_lr import find_lr

    with reporting(RunReporter, quiet=quiet or as_json) as reporter:
        test = find_lr(
            *plugins,
            settings=settings,
            start_lr=start_lr,
            end_lr=end_lr,
            steps=steps,
            reporter=reporter,
            **train_options_given(ctx),
        )
    if output is not None:
        from lrtrain.range_test.picture import draw_range_test

        curve = test.curve
        columns = {
            "learning_rate": curve.learning_rates,
            "loss": curve.losses,
            "smoothed_learning_rate": curve.smoothed_learning_rates,
            "smoothed_loss": curve.smoothed_losses,
        }
        write_output(output, columns, lambda file: draw_range_test(test, file), force=force)
    if as_json:
        print_json(test.to_json())
    else:
        _show(test, output)
    if test.obstacle:
        raise TrainingError(test.obstacle)


def _show(test: RangeTest, output: Path | None) -> None:
    curve = test.curve
    if output is None:
        _print_curve(test)
        click.echo()
    end = f"; {curve.stopped}" if curve.stopped else ""
    click.echo(f"{len(curve.losses)} of {test.steps} steps, {test.start_lr:.3g} to {curve.learning_rates[-1]:.3g}{end}")
    for index, each in enumerate(test.suggestions):
        click.echo(
            f"{'suggestion' if index == 0 else 'also':12}{each.learning_rate:.3g}  ({each.rule}: {each.meaning})"
        )
    if test.suggestions:
        click.echo(f"{'schedule':12}{_in_words(test)}")
    if output is not None:
        click.echo(f"{'file':12}{shown_path(output)}")


def _in_words(test: RangeTest) -> str:
    name, scale = normal_name(test.spec.name), test.scale(test.suggestion)
    if scale is None:
        return f"the learning rate of {name} is 0 throughout, and no factor changes that"
    return (
        f"the highest learning rate of {name} is {test.peak:.3g}; a factor of {scale:.3g} on its learning rates, as "
        f"compare --lr-scales has them, makes that {test.suggestion.learning_rate:.3g}"
    )


def _print_curve(test: RangeTest) -> None:
    """Prints the smoothed loss at some learning rates, those of the suggestions and of the minimum among them."""
    import numpy as np

    curve = test.curve
    rates = curve.smoothed_learning_rates
    decades = float(np.log10(rates[-1] / rates[0]))
    shown = {int(step) for step in np.linspace(0, len(rates) - 1, max(2, round(_ROWS_PER_DECADE * decades) + 1))}
    marks = {int(np.argmin(abs(rates / each.learning_rate - 1))): each.rule for each in reversed(test.suggestions)}
    marks = {curve.lowest: "minimum", **marks}
    rows = [
        [f"{rates[step]:.2e}", f"{curve.smoothed_losses[step]:.3f}", marks.get(step, "")]
        for step in sorted(shown | set(marks))
    ]
    print_table(["learning rate", "smoothed loss", ""], rows, numbers=["learning rate", "smoothed loss"])
