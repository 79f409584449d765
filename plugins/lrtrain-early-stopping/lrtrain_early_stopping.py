"""Early stopping, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from lrtrain import Doc, EpochInfo, Improvement, Metric, Mode, PositiveInt, Stop, hookimpl


@dataclass(frozen=True)
class EarlyStopping:
    """Ends the run when a metric has not improved for ``patience`` epochs.

    An epoch improves the metric when it is better than the best before it by more than ``min_delta``. With ``baseline``
    given, that is the best to begin with, so a run that does not beat it within ``patience`` epochs ends too. The
    epoch that completes ``patience`` is the last one. The run ends with a checkpoint, and the one with the best test
    accuracy is kept beside it.

    What counts is computed from the run's history alone, so it is the same after a resume. A run that was ended here
    and is resumed goes on for one epoch, which ends it again unless it improves the metric; with
    ``--set early-stopping.patience=N`` it is more patient.

    Example:
      >>> import lrtrain
      >>> def epochs(losses):
      ...     return [lrtrain.EpochInfo(i, 235 * (i + 1), loss, loss, 0.5, 0.1, 9.0) for i, loss in enumerate(losses)]
      >>> rule = EarlyStopping(patience=2)
      >>> rule.on_epoch_end(epochs([0.9, 0.8, 0.8]))
      >>> rule.on_epoch_end(epochs([0.9, 0.8, 0.8, 0.85]))
      Stop(reason='test_loss has not improved for 2 epochs, best 0.8 in epoch 2')

    Reference: Prechelt, Early Stopping - But When?, 1998; `keras.callbacks.EarlyStopping`.
    """

    metric: Metric = "test_loss"
    mode: Mode = "auto"
    patience: Annotated[PositiveInt, Doc("epochs without improvement after which the run ends")] = 3
    min_delta: Annotated[float, Ge(0), Doc("how much better than the best an epoch must be, and more than that")] = 0.0
    baseline: Annotated[float | None, Doc("value that must be beaten from the beginning; none: any will do")] = None

    @hookimpl
    def on_epoch_end(self, history: Sequence[EpochInfo]) -> Stop | None:
        """Asks for the end when the last ``patience`` epochs have brought nothing better."""
        best, place = self._best([getattr(epoch, self.metric) for epoch in history])
        waited = len(history) - 1 - place
        if waited < self.patience:
            return None
        epochs = f"{waited} epoch{'s' * (waited != 1)}"
        if place < 0:
            return Stop(f"{self.metric} has not beaten the baseline {best:g} in {epochs}")
        return Stop(f"{self.metric} has not improved for {epochs}, best {best:.6g} in epoch {history[place].epoch + 1}")

    def _best(self, values: Sequence[float]) -> tuple[float, int]:
        """Returns the best value and its place; -1 while none has beaten the baseline."""
        improvement = Improvement(self.metric, self.mode, self.min_delta)
        best, place = improvement.worst if self.baseline is None else self.baseline, -1
        for index, value in enumerate(values):
            if improvement.is_better(value, best):
                best, place = value, index
        return best, place
