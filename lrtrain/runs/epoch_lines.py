"""An epoch in the files of a run: the only place that knows the keys of ``metrics.jsonl`` and of a saved history."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict

from lrtrain.plugins.context import EpochInfo, MeasuredOn
from lrtrain.strict_json import InvalidFileError, Whole, decode, parse_json


class _Line(Struct, kw_only=True):
    epoch: Whole
    step: Whole
    train_loss: float
    test_loss: float
    test_accuracy: float
    learning_rate: float
    seconds: float
    # A line that was restored from a checkpoint has none.
    examples_per_second: float = math.nan


class _OnValidation(_Line, kw_only=True):
    test_loss: float = field(name="validation_loss")
    test_accuracy: float = field(name="validation_accuracy")


# A saved history has these keys whatever the epochs were measured on: its reader knows that.
_SAVED = _Line.__struct_fields__[:-1]


def line_of(epoch: EpochInfo) -> dict[str, Any]:
    """Returns the line of an epoch in ``metrics.jsonl``; `parse_epochs` reads it."""
    # Runs are listed without it.
    import numpy as np

    line = {
        "epoch": epoch.epoch,
        "step": epoch.step,
        "train_loss": epoch.train_loss,
        f"{epoch.measured_on}_loss": epoch.loss,
        f"{epoch.measured_on}_accuracy": epoch.accuracy,
        # As `steps.csv` has it: the shortest decimal that is this float32.
        "learning_rate": float(str(np.float32(epoch.learning_rate))),
        "seconds": round(epoch.seconds, 3),
    }
    speed = epoch.examples_per_second
    return line if math.isnan(speed) else {**line, "examples_per_second": round(float(speed), 1)}


def parse_epochs(text: str) -> Iterator[EpochInfo]:
    """Yields the epochs of ``metrics.jsonl``, without a torn last line.

    Raises:
      InvalidFileError: at the first line that is no epoch.
    """
    for number, line in enumerate(text.split("\n")[:-1]):
        title = f"metrics.jsonl, line {number + 1}"
        values = parse_json(line, title)
        held_out = isinstance(values, dict) and values.get("validation_loss") is not None
        epoch = decode(values, _OnValidation if held_out else _Line, title)
        if epoch.epoch != number:
            raise InvalidFileError(f"{title} is of epoch {epoch.epoch + 1}")
        yield EpochInfo(**asdict(epoch), measured_on="validation" if held_out else "test")


def to_saved(history: Iterable[EpochInfo]) -> list[dict[str, Any]]:
    """Returns a history as a checkpoint holds it, and the file of a wave."""
    return [{name: getattr(epoch, name) for name in _SAVED} for epoch in history]


def from_saved(history: Iterable[Mapping[str, Any]], measured_on: MeasuredOn = "test") -> tuple[EpochInfo, ...]:
    """Returns what `to_saved` was given, but for ``examples_per_second``."""
    return tuple(EpochInfo(**epoch, measured_on=measured_on) for epoch in history)
