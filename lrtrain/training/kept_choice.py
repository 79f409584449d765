"""A choice by measurement, made once for what is trained and kept in the cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtrain.cache import cache_dir, processor_id
from lrtrain.files import write_whole
from lrtrain.runs.conditions import versions
from lrtrain.training.prepare import Task, engine_options

if TYPE_CHECKING:
    from lrtrain.runs.train_config import TrainConfig


class KeptChoice:
    """The number that was chosen, in a file of the cache; ``name`` says what it counts, such as ``"devices"``."""

    def __init__(self, name: str, task: Task, config: TrainConfig, facts: dict[str, Any]) -> None:
        """Names the file by all that the choice depends on; ``facts`` are those besides the step itself."""
        determined: dict[str, Any] = {
            "program": task.found.program,
            **{name: getattr(config, name) for name in ("optimizer", "clip_norm", "weight_decay")},
            **facts,
            "versions": {name: versions()[name] for name in ("lrtrain", "jax", "jaxlib")},
            **engine_options(config),
        }
        digest = hashlib.sha256(json.dumps(determined, sort_keys=True).encode()).hexdigest()[:16]
        self._name = name
        self._file: Path = cache_dir() / name / processor_id() / f"{digest}.json"

    def read(self) -> int | None:
        """Returns the number; None where there is none."""
        try:
            return int(json.loads(self._file.read_text(encoding="utf-8"))[self._name])
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None

    def write(self, number: int, milliseconds: dict[int, float]) -> None:
        """Keeps a number, with what was measured; if it cannot be written, it is measured again next time."""
        note = {self._name: number, "milliseconds": milliseconds}
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._file, json.dumps(note) + "\n")
