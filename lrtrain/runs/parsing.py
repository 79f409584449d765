"""From the text of a run's files to typed values; whatever is in them, the answer is a value or one sentence."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrtrain.runs.config import TrainConfig
from lrtrain.errors import UsageError
from lrtrain.runs.directory import VERSION
from lrtrain.runs.record import Epoch, Head, MeasuredOn
from lrtrain.plugins.spec import Spec, short

_NUMBERS = ("train_loss", "learning_rate", "seconds")
_SPEED = "examples_per_second"


class DamagedError(Exception):
    """What is wrong with a file of a run, in words."""


def read_text(path: Path) -> str:
    """Returns the text of a file; DamagedError when it is none."""
    # A pipe in the place of a file would be waited for without end.
    if not path.is_file():
        raise DamagedError(f"{path.name} is missing" if not path.exists() else f"{path.name} is not a file")
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DamagedError(f"{path.name} cannot be read ({error.strerror})") from None
    except ValueError:
        raise DamagedError(f"{path.name} is not text") from None


def read_json(path: Path) -> Any:
    """Returns what a JSON file holds; DamagedError when it cannot be read."""
    return _json(read_text(path), path.name)


def is_config(values: object) -> bool:
    """Tells whether a ``config.json`` is one of a run, and not of something else."""
    return isinstance(values, dict) and {"version", "train", "plugins"} <= values.keys()


def parse_head(values: Mapping[str, Any], written: datetime.datetime | None) -> Head:
    """Returns what ``config.json`` says; DamagedError when a part is missing or of a wrong kind.

    Args:
      values: what the file holds.
      written: when it was written, which is the beginning of a run that notes none and was never continued.
    """
    if values.get("version") != VERSION:
        raise DamagedError(
            f"config.json is of version {short(values.get('version'))}, and this lrtrain reads version {VERSION}"
        )
    try:
        return _head(values, written)
    except UsageError as error:
        raise DamagedError(f"config.json: {short(str(error), 300)}") from None
    except (KeyError, IndexError) as error:
        raise DamagedError(f"config.json lacks {short(str(error))}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise DamagedError(f"config.json has a value of a wrong kind ({short(str(error), 100)})") from None


def _head(values: Mapping[str, Any], written: datetime.datetime | None) -> Head:
    plugins = tuple(Spec.of(_table(table)) for table in _list(values["plugins"]))
    schedule, total = _table(values["schedule"]), _whole(values["total_steps"])
    resumed = tuple(_whole(_table(each)["step"]) for each in _list(values.get("resumed", [])))
    device, processes = _table(values["device"]), _whole(values.get("processes", 1))
    devices = f"{_whole(device['count'])} x {_text(device['kind'])}"
    comparison = values.get("comparison")
    return Head(
        plugins=plugins,
        schedule=plugins[_whole(schedule["plugin"])],
        whole_schedule=(schedule["start"], schedule["steps"]) == (0, total),
        train=_train(_table(values["train"])),
        total_steps=total,
        versions={name: _text(version) for name, version in _table(values["versions"]).items()},
        devices=devices if processes == 1 else f"{devices} in {processes} processes",
        resumed=resumed,
        comparison=None if comparison is None else _table(comparison),
        started=_started(values, None if resumed else written),
        values=values,
    )


def _train(values: dict[str, Any]) -> TrainConfig:
    for name in ("dataset", "data_dir", "model"):
        if values.get(name) is not None:
            _text(values[name])
    if not isinstance(values.get("shuffle", True), bool):
        raise TypeError(f"shuffle is {short(values['shuffle'])}")
    config = TrainConfig.from_json(values)
    config.check()
    return config


def _started(values: Mapping[str, Any], written: datetime.datetime | None) -> datetime.datetime | None:
    if values.get("started") is None:
        return written
    started = datetime.datetime.fromisoformat(_text(values["started"]))
    return started if started.tzinfo else started.astimezone()


def parse_epochs(text: str) -> Iterator[Epoch]:
    """Yields the epochs of ``metrics.jsonl``; a torn last line is none. DamagedError at the first that is no epoch."""
    for number, line in enumerate(text.split("\n")[:-1], 1):
        title = f"metrics.jsonl, line {number}"
        epoch = _epoch(_json(line, title), title)
        if epoch.epoch != number - 1:
            raise DamagedError(f"{title} is of epoch {epoch.epoch + 1}")
        yield epoch


def _epoch(values: object, title: str) -> Epoch:
    if not isinstance(values, dict):
        raise DamagedError(f"{title} is no table")
    split: MeasuredOn = "validation" if "validation_loss" in values else "test"
    whole: dict[str, Any] = {name: _number(values, name, title, int) for name in ("epoch", "step")}
    numbers: dict[str, Any] = {name: float(_number(values, name, title, int | float)) for name in _NUMBERS}
    loss, accuracy = (float(_number(values, f"{split}_{name}", title, int | float)) for name in ("loss", "accuracy"))
    # A line that was restored from a checkpoint has none.
    speed = float(_number(values, _SPEED, title, int | float)) if _SPEED in values else math.nan
    return Epoch(**whole, **numbers, loss=loss, accuracy=accuracy, measured_on=split, examples_per_second=speed)


def _number(values: Mapping[str, Any], name: str, title: str, kind: Any) -> Any:
    if name not in values:
        raise DamagedError(f"{title} lacks {name}")
    value = values[name]
    if isinstance(value, bool) or not isinstance(value, kind):
        raise DamagedError(f"{title}: {name} is {_shown(value)}, not a number")
    return value


@dataclass(frozen=True)
class Steps:
    """What ``steps.csv`` shows: updates done, the highest learning rate (None before the first), the last loss."""

    count: int
    peak: float | None
    last_loss: float


def parse_steps(text: str) -> Steps:
    """Returns what ``steps.csv`` shows; without a torn last line. DamagedError at the first line that is no step."""
    rows = text.split("\n")[1:-1]
    if not rows:
        return Steps(0, None, math.nan)
    try:
        return Steps(len(rows), max(float(row.split(",")[2]) for row in rows), float(rows[-1].split(",")[3]))
    except (IndexError, ValueError):
        number = next((at for at, row in enumerate(rows, 2) if not _is_step(row)), len(rows) + 1)
        raise DamagedError(f"steps.csv, line {number} is no step") from None


def _is_step(row: str) -> bool:
    try:
        return len(list(map(float, row.split(",")))) == 4
    except ValueError:
        return False


def _json(text: str, title: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise DamagedError(f"{title} is not JSON") from None


def _shown(value: object) -> str:
    return short(json.dumps(value), 40)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{_shown(value)} in the place of a whole number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{_shown(value)} in the place of a text")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{_shown(value)} in the place of a list")
    return value


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{_shown(value)} in the place of a table")
    return value
