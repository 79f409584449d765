"""``lrtrain train``: the main job."""

from __future__ import annotations

import atexit
import gc
import warnings
from pathlib import Path
from typing import Any

import click

from lrtrain.cli.options import (
    DIRECTORY,
    as_distributed,
    distributed_options,
    plugin_option,
    set_option,
    train_options,
    train_options_given,
)


@click.command("train", short_help="Train a network under a schedule (the default command).")
@plugin_option()
@set_option
@train_options()
@click.option("--run-dir", type=DIRECTORY, metavar="DIR", help="Where to write; new or empty. [default: runs/...]")
@click.option("--resume", is_flag=True, help="Continue the run in --run-dir; options not given stay as they were.")
@click.option(
    "--on-schedule-change",
    type=click.Choice(["keep", "restart"]),
    help="With --resume and another schedule: keep the run's own, or restart with the new one for the steps left.",
)
@click.option(
    "--accept-code-change",
    is_flag=True,
    help="With --resume: go on although the code of a plugin that observes, or of the model, has changed.",
)
@click.option(
    "--checkpoint-every",
    metavar="N|TIME|EPOCHS",
    help="A checkpoint every 200 (steps), 30s, 5min or 1h besides that of each epoch; or 3ep. "
    "[default: auto, that of each epoch, and 30 s apart where these take less than 5 s]",
)
@distributed_options
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but the summary.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    plugins: tuple[str, ...],
    settings: tuple[str, ...],
    run_dir: Path | None,
    resume: bool,
    on_schedule_change: Any,
    accept_code_change: bool,
    checkpoint_every: str | None,
    quiet: bool,
    **_: Any,
) -> None:
    """Train a network under the schedule of a plugin: a small one on images, or that of another --workload.

    Every run has a directory with its configuration, metrics, the learning rate and loss of every step, a picture
    of the schedule, and checkpoints.

    \b
    Examples:
      lrtrain --plugin sgdr
      lrtrain --plugin 'wsd(peak_value=5e-4, decay_steps=30%)' --epochs 3
      lrtrain --plugin linear --set transition_begin=2ep --optimizer adam
      lrtrain --resume --run-dir runs/sgdr-20260101-120000
      srun lrtrain --distributed --plugin sgdr --run-dir runs/on-all-hosts
    """
    if not plugins and not resume:
        raise click.UsageError("no plugin was named: add one, as in --plugin sgdr ('lrtrain plugins list' shows them)")
    joined = as_distributed(ctx)
    # What Python imports and JAX traces is a million objects that live to the end: it looks less for garbage.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    # Of Orbax's, when the system has refused it something: that is one sentence, and not these.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    # Where no more files can be opened while the picture is drawn beside the first steps.
    warnings.filterwarnings("ignore", "Unable to import Axes3D", UserWarning)
    from lrtrain.cli.progress import RunReporter, print_summary, reporting
    from lrtrain.engine.connection import is_main
    from lrtrain.training.train import train

    with reporting(RunReporter, quiet=quiet, work="run", directory=run_dir if resume else None) as reporter:
        result = train(
            *plugins,
            settings=settings,
            run_dir=run_dir,
            resume=resume,
            on_schedule_change=on_schedule_change,
            accept_code_change=accept_code_change,
            checkpoint_every=checkpoint_every,
            reporter=reporter,
            distributed=joined,
            **train_options_given(ctx),
        )
    if is_main():
        print_summary(result, reporter.headline)
