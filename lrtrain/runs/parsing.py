"""From the text of a run's files to typed values; whatever is in a file, the answer is a value or one sentence."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import Any

from lrtrain.runs.record import Head
from lrtrain.runs.run_config import RunConfig
from lrtrain.strict_json import InvalidFileError


def is_config(values: object) -> bool:
    """Returns whether the values of a ``config.json`` are those of a run, and not of another tool."""
    return isinstance(values, dict) and {"version", "train", "plugins"} <= values.keys()


def parse_head(values: Any, written: datetime.datetime | None) -> Head:
    """Returns what ``config.json`` says.

    Args:
      values: the values in the file.
      written: the time at which it was written, which is the beginning of a run that has none in the file and was never
        resumed.

    Raises:
      InvalidFileError: a field is missing, or of a wrong kind.
    """
    config = RunConfig.from_json(values)
    schedule, total = config.schedule, config.total_steps
    return Head(
        plugins=config.specs,
        schedule=config.spec,
        whole_schedule=(schedule.start, schedule.steps) == (0, total),
        train=config.train,
        total_steps=total,
        versions=config.versions,
        devices=str(config.device) if config.processes == 1 else f"{config.device} in {config.processes} processes",
        resumed=tuple(each.step for each in config.resumed),
        comparison=values.get("comparison"),
        started=_started(config.started, None if config.resumed else written),
        values=values,
    )


def _started(noted: str | None, written: datetime.datetime | None) -> datetime.datetime | None:
    if noted is None:
        return written
    try:
        started = datetime.datetime.fromisoformat(noted)
        # The years 1 and 9999 do not exist in every time zone.
        return started if started.tzinfo and started.utctimetuple() else started.astimezone()
    except (ValueError, OverflowError, OSError):
        raise InvalidFileError(f"config.json: started is refused: {noted!r:.60} is no time of day") from None


@dataclass(frozen=True)
class Steps:
    """A summary of ``steps.csv``: the learning rate of each update that is done, and the last loss."""

    rates: list[float]
    last_loss: float


def parse_steps(text: str) -> Steps:
    """Returns the summary of ``steps.csv``, without a torn last line; raises InvalidFileError at the first bad line."""
    rows = text.split("\n")[1:-1]
    try:
        rates, last = [float(row.split(",")[2]) for row in rows], float(rows[-1].split(",")[3]) if rows else math.nan
        return Steps(rates, last)
    except (IndexError, ValueError):
        number = next((at for at, row in enumerate(rows, 2) if not _is_step(row)), len(rows) + 1)
        raise InvalidFileError(f"steps.csv, line {number} is no step") from None


def _is_step(row: str) -> bool:
    try:
        return len(list(map(float, row.split(",")))) == 4
    except ValueError:
        return False
