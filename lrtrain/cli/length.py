"""The options of the length of a run that is not trained, for commands that draw or write its learning rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from lrtrain.cli.options import complete_workload, together
from lrtrain.errors import UsageError
from lrtrain.runs.train_config import TrainConfig

if TYPE_CHECKING:
    from lrtrain.plugins.context import ScheduleContext
    from lrtrain.workloads.loading import Chosen

# Of the default workload: Fashion-MNIST in batches of 256.
_STEPS_PER_EPOCH = 235

length_options = together(
    click.option(
        "--workload",
        metavar="SPEC",
        shell_complete=complete_workload,
        help="Show the learning rates of a run that trains this: its length and its default learning rates.",
    ),
    click.option(
        "--epochs",
        type=click.IntRange(1),
        help=f"Length of the run in epochs.  [default: {TrainConfig.epochs}, or the workload's]",
    ),
    click.option("--steps", type=click.IntRange(1), metavar="N", help="Length of the run in optimizer updates."),
    click.option(
        "--steps-per-epoch",
        type=click.IntRange(1),
        metavar="N",
        help=f"Optimizer updates in an epoch.  [default: {_STEPS_PER_EPOCH}, that of Fashion-MNIST in batches of 256, "
        "or the workload's]",
    ),
)
"""The options of a run that is not trained; `asked_run` reads them."""


@dataclass(frozen=True)
class AskedRun:
    """A run whose learning rates are shown; of the default workload where none is named."""

    epochs: int
    steps: int | None
    per_epoch: int | None
    config: TrainConfig
    chosen: Chosen | None

    @property
    def factor(self) -> float:
        """What learning rates that are defaults of options are multiplied by."""
        return 1.0 if self.chosen is None else self.chosen.factor

    def context(self) -> ScheduleContext:
        """Returns the context that its schedule is built for; the data of a workload is loaded if its size matters."""
        from lrtrain.schedules.table import make_context

        per_epoch = self.per_epoch or self._steps_per_epoch()
        return make_context(self.epochs * per_epoch if self.steps is None else self.steps, per_epoch)

    def _steps_per_epoch(self) -> int:
        if self.chosen is None:
            return _STEPS_PER_EPOCH
        from lrtrain.training.prepare import find_data

        return self.config.steps_per_epoch(len(find_data(self.chosen, self.config).load().train))


def asked_run(workload: str | None, epochs: int | None, steps: int | None, steps_per_epoch: int | None) -> AskedRun:
    """Returns the run that the options ask for.

    Raises:
      UsageError: both ``epochs`` and ``steps`` are given, or the workload is refused.
    """
    if epochs is not None and steps is not None:
        raise UsageError("--epochs and --steps both give the length of the run: give one of them")
    config, chosen = TrainConfig(), None
    if workload is not None:
        from lrtrain.training.configure import configured

        config, chosen = configured({"workload": workload})
    return AskedRun(epochs or config.epochs, steps, steps_per_epoch, config, chosen)
