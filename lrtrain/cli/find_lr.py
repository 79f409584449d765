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
from lrtrain.workloads.wording import wording

if TYPE_CHECKING:
    from lrtrain.range_test.find_lr import RangeTest
    from lrtrain.verifying import VerifiedLr

_ROWS_PER_DECADE = 4


@click.command("find-lr", short_help="Find a learning rate for a schedule, by a range test.")
@plugin_option(required=True)
@set_option
@click.option("--start-lr", type=float, metavar="LR", help="First learning rate. [default: see above]")
@click.option("--end-lr", type=float, metavar="LR", help="Last learning rate. [default: see above]")
@click.option("--steps", type=int, default=400, show_default=True, help="Optimizer updates from one to the other.")
@click.option(
    "--verify",
    "verifies",
    is_flag=True,
    help="Then train ten complete runs or more, of --epochs, around the suggestion, and recommend the best of them.",
)
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
    verifies: bool,
    output: Path | None,
    force: bool,
    quiet: bool,
    as_json: bool,
    **_: Any,
) -> None:
    """Train a fresh network at a learning rate that grows until the loss diverges, and suggest one for a schedule.

    Nothing is written but --output, and no run is touched. The schedule of the plugin is not applied: what is printed
    is the factor that makes its highest learning rate equal to the suggestion. With --verify complete runs under the
    schedule follow, on training examples less a twelfth that is held out, and what these say is best is recommended.

    The test goes from 1e-4 to 10, with --loss-reduction sum both divided by --batch-size; with an optimizer that
    divides by the size of the gradient, such as adam, from 1e-6 to 1.

    \b
    Examples:
      lrtrain find-lr --plugin sgdr
      lrtrain find-lr --plugin wsd --optimizer adam --output range.png
      lrtrain find-lr --plugin linear --loss-reduction mean --start-lr 1e-3 --json
      lrtrain find-lr --plugin wsd --epochs 2 --verify
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
    verified = _verified(test, quiet=quiet or as_json) if verifies and not test.obstacle else None
    if as_json:
        print_json({**test.to_json(), **({"verified": verified.to_json()} if verified else {})})
    else:
        _show(test, output, verified)
    if test.obstacle:
        raise TrainingError(test.obstacle)


def _verified(test: RangeTest, *, quiet: bool) -> VerifiedLr:
    from lrtrain.cli.compare.progress import VerifyingReporter
    from lrtrain.cli.progress import reporting
    from lrtrain.verifying import verify_lr

    with reporting(VerifyingReporter, quiet=quiet) as reporter:
        return verify_lr(test, reporter=reporter)


def _show(test: RangeTest, output: Path | None, verified: VerifiedLr | None) -> None:
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
    if verified is not None:
        _show_verified(test, verified)
    elif test.suggestions:
        click.echo(f"{'schedule':12}{_in_words(test, test.scale(test.suggestion), test.suggestion.learning_rate)}")
    if output is not None:
        click.echo(f"{'file':12}{shown_path(output)}")


def _show_verified(test: RangeTest, verified: VerifiedLr) -> None:
    """Prints what complete runs have shown, and recommends that."""
    headline, examples = verified.headline, wording([test.config.workload]).examples
    rows = [[f"{point.learning_rate:.3g}", ", ".join(map(headline.text, point.values))] for point in verified.points]
    click.echo()
    print_table(["highest learning rate", f"{headline.name} on held-out {examples}"], rows, ["highest learning rate"])
    edge = ", the last that was tried: the best may lie beyond" if verified.on_edge else ""
    runs = sum(len(point.values) for point in verified.points)
    epochs = test.config.epochs
    click.echo()
    how = f"best {headline.name} of a curve through {runs} complete runs of {epochs} epoch{'s' * (epochs != 1)}"
    click.echo(f"{'verified':12}{verified.learning_rate:.3g}  ({how}{edge})")
    click.echo(f"{'schedule':12}{_in_words(test, verified.scale, verified.learning_rate)}")


def _in_words(test: RangeTest, scale: float | None, learning_rate: float) -> str:
    name = normal_name(test.spec.name)
    if scale is None:
        return f"the learning rate of {name} is 0 throughout, and no factor changes that"
    return (
        f"the highest learning rate of {name} is {test.peak:.3g}; a factor of {scale:.3g} on its learning rates makes "
        f"that {learning_rate:.3g}"
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
