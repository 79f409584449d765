"""The position of a run, as its checkpoints note it beside the arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lrtrain.plugins.context import EpochInfo
from lrtrain.runs.epochs import from_saved, to_saved

_OF_THE_FILE = ("version", "fingerprint", "sha256")


@dataclass(frozen=True, eq=False)
class Progress:
    """The position of a run, apart from the arrays that it trains.

    Args:
      step: updates done.
      scale: the factor that hooks have put on the learning rate.
      seed: the run's seed.
      history: the epochs done.
      epoch_losses: the losses of the updates done in an epoch that has not ended.
      stopped: why a hook ended the run, if one did.
      asked: what hooks have asked for and has not acted yet: the step at which it does, a factor for the learning rate,
        and a reason to stop.
    """

    step: int
    scale: float
    seed: int
    history: tuple[EpochInfo, ...] = ()
    epoch_losses: tuple[float, ...] = ()
    stopped: str | None = None
    asked: tuple[tuple[int, float, str | None], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as JSON holds them."""
        return {**vars(self), "history": to_saved(self.history)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Progress:
        """Returns what `to_json` wrote."""
        fields = {name: value for name, value in values.items() if name not in _OF_THE_FILE}
        history = from_saved(fields.pop("history"))
        # Of version 1, which had none.
        asked = tuple((step, factor, stop) for step, factor, stop in fields.pop("asked", ()))
        return cls(**{**fields, "epoch_losses": tuple(fields["epoch_losses"])}, history=history, asked=asked)
