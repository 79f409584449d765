"""The position of a run, which its checkpoints hold beside the arrays."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from lrtrain.plugins.context import EpochInfo, MeasuredOn
from lrtrain.runs.logs import from_saved, to_saved

_OF_THE_FILE = ("version", "fingerprint", "sha256")


@dataclass(frozen=True, eq=False)
class Position:
    """The position of a run: all that it continues from, apart from the arrays that it trains.

    Args:
      step: updates done.
      factor: the factor that hooks have put on the learning rate.
      seed: the run's seed.
      history: the epochs done.
      epoch_losses: the losses of the updates done in an epoch that has not ended.
      stopped: why a hook ended the run, if one did.
      pending: the requests of hooks that are not yet applied, each with the step before which it is applied, a factor
        for the learning rate, and a reason to stop.
    """

    step: int
    factor: float
    seed: int
    history: tuple[EpochInfo, ...] = ()
    epoch_losses: tuple[float, ...] = ()
    stopped: str | None = None
    pending: tuple[tuple[int, float, str | None], ...] = ()

    def measured_on(self, examples: MeasuredOn) -> Position:
        """Returns the same with epochs that were measured on these examples, which a checkpoint does not say."""
        history = tuple(dataclasses.replace(epoch, measured_on=examples) for epoch in self.history)
        return dataclasses.replace(self, history=history)

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as a checkpoint holds them, with its keys: ``scale`` (factor), ``asked`` (pending)."""
        fields = dict(vars(self))
        return {
            "scale": fields.pop("factor"),
            "asked": fields.pop("pending"),
            **fields,
            "history": to_saved(self.history),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Position:
        """Returns the position that `to_json` wrote."""
        fields = {name: value for name, value in values.items() if name not in _OF_THE_FILE}
        factor, history = fields.pop("scale"), from_saved(fields.pop("history"))
        losses = tuple(fields.pop("epoch_losses"))
        # Version 1 had none.
        pending = tuple((step, factor, stop) for step, factor, stop in fields.pop("asked", ()))
        return cls(**fields, factor=factor, history=history, epoch_losses=losses, pending=pending)
