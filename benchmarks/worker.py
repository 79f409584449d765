"""The process of one competitor: ``python -m benchmarks.worker MODULE NAME DIRECTORY ROUNDS``.

MODULE holds a dictionary COMPETITORS. The process says in a line of JSON that it is ready, then times one round for
each line that it reads. Lines go out through a duplicate of stdout, so whatever else prints cannot disturb them.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import problem
from benchmarks.competitors import EPOCH, Competitor, Train


def main(module: str, name: str, directory: Path, rounds: int) -> None:
    say = _line_writer()
    try:
        competitor: Competitor = importlib.import_module(module).COMPETITORS[name]
        train = competitor.train(problem.read(directory, rounds))
        say({"losses": _warm_up(train, competitor.steps)})
        for _ in sys.stdin:
            say(train(competitor.steps)._asdict())
    except Exception as error:
        say({"failed": " ".join(f"{type(error).__name__}: {error}".split())[:200]})
        raise
    # A run that is halted between its rounds is finished.
    getattr(train, "close", lambda: None)()


def _warm_up(train: Train, steps: int) -> list[float]:
    """Trains outside of any timing; returns the losses of the first steps."""
    first = train(steps if steps == EPOCH else min(steps, problem.FIRST_STEPS)).losses
    if steps > problem.FIRST_STEPS:
        train(steps)
    return first[: problem.FIRST_STEPS]


def _line_writer() -> Callable[[dict[str, Any]], None]:
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        lines.write(json.dumps(message) + "\n")
        lines.flush()

    return say


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
