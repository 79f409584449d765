"""Competitors in processes of their own, timed in turn (A B A B): whatever slows the machine down slows all of them."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.options import ROOT, Options, environment

REGISTRY = "benchmarks.competitors"


@dataclass
class Outcome:
    """The result of a competitor.

    Args:
      missing: why it has no figures, if so.
      seconds: a step's time in each round.
      loss: mean over the first steps from the common weights, before any timing; None if it gives none.
      compilations: how often its step was compiled, where that is counted.
      bare: a step's time of a bare loop in the same process in each round, where that is timed.
      aside: seconds of processor time in an epoch outside of XLA, in each round, where that is measured.
      bare_aside: the same of the bare loop.
    """

    missing: str | None = None
    seconds: list[float] = field(default_factory=list)
    loss: float | None = None
    compilations: int | None = None
    bare: list[float] = field(default_factory=list)
    aside: list[float] = field(default_factory=list)
    bare_aside: list[float] = field(default_factory=list)


class WorkerFailedError(Exception):
    """What a competitor raised, in one line."""


class Worker:
    """One competitor's process, which sleeps until it is asked."""

    def __init__(self, name: str, options: Options, registry: str) -> None:
        self.name = name
        self._log = options.directory / f"{len(list(options.directory.glob('*.log')))}.log"
        command = [sys.executable, "-m", "benchmarks.worker", registry, name, str(options.directory)]
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [*command, str(options.rounds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env=environment(options.directory),
            )

    def ask(self) -> dict[str, Any]:
        """Times one round."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        return self.listen()

    def listen(self) -> dict[str, Any]:
        """Waits for the next line of the process."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        message: dict[str, Any] = json.loads(line) if line else {"failed": self._last_words()}
        if "failed" in message:
            raise WorkerFailedError(message["failed"])
        return message

    def close(self) -> None:
        """Closes the input of the process, which then ends."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=90)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _last_words(self) -> str:
        status = self._process.wait()
        lines = self._log.read_text(encoding="utf-8").splitlines() or ["it said nothing"]
        return f"ended with status {status}: {lines[-1]}"


def interleaved(
    names: Sequence[str], options: Options, registry: str = REGISTRY, *, anew: bool = False
) -> dict[str, Outcome]:
    """Times some competitors of a registry round by round; returns the result of each, in that order.

    A competitor that lacks a package or that fails is marked so and does not delay the others. With ``anew``, each has
    a new process in every round: two processes that run the same program differ for as long as they live (ten of
    lrtrain's step, in turn, had medians of 27.0 to 31.8 ms), and the median over the rounds should not depend on
    one process.
    """
    known = importlib.import_module(registry).COMPETITORS
    outcomes = {name: Outcome(missing_packages(known[name].needs)) for name in names}
    sittings = options.rounds if anew else 1
    for number in range(sittings):
        if anew:
            options.progress(f"sitting {number + 1} of {sittings}")
        _sit(outcomes, dataclasses.replace(options, rounds=options.rounds // sittings), registry)
    return outcomes


def _sit(outcomes: dict[str, Outcome], options: Options, registry: str) -> None:
    """Starts a process for each competitor that has not failed, and times them round by round."""
    with _started([name for name in outcomes if not outcomes[name].missing], options, registry) as workers:
        for worker in workers:
            with _failures_noted(worker, outcomes):
                outcomes[worker.name].loss = _mean(worker.listen()["losses"])
        for number in range(options.rounds):
            options.progress(f"round {number + 1} of {options.rounds}")
            for worker in workers:
                if not outcomes[worker.name].missing:
                    with _failures_noted(worker, outcomes):
                        _note(worker.ask(), outcomes[worker.name])


def missing_packages(needs: Sequence[str]) -> str | None:
    """Returns how to install what is missing, or None."""
    missing = [name for name in needs if importlib.util.find_spec(name) is None]
    return f"not installed: {'; '.join(_HOW_TO_GET.get(name, name) for name in missing)}" if missing else None


_HOW_TO_GET = {
    "torch": "`pip install torch==2.13.0`, with `--index-url` and PyTorch's index of CPU wheels",
    "keras": "`pip install keras`, or `uv run --group bench`",
}


@contextlib.contextmanager
def _started(names: Sequence[str], options: Options, registry: str) -> Iterator[list[Worker]]:
    with contextlib.ExitStack() as stack:
        workers = []
        for name in names:
            workers.append(Worker(name, options, registry))
            stack.callback(workers[-1].close)
        options.progress(f"starting and warming up {len(workers)} processes")
        yield workers


@contextlib.contextmanager
def _failures_noted(worker: Worker, outcomes: dict[str, Outcome]) -> Iterator[None]:
    try:
        yield
    except WorkerFailedError as error:
        outcomes[worker.name].missing = f"does not work here: {error}"


def _note(message: dict[str, Any], outcome: Outcome) -> None:
    outcome.seconds.append(message["seconds"])
    outcome.compilations = message.get("compilations")
    for name in ("bare", "aside", "bare_aside"):
        if message.get(name) is not None:
            getattr(outcome, name).append(message[name])


def _mean(losses: list[float]) -> float | None:
    return statistics.mean(losses) if losses else None


def prepare(options: Options) -> None:
    """Writes the problem that all competitors are given."""
    examples = str(options.examples)
    command = [sys.executable, "-m", "benchmarks.problem", str(options.directory), examples]
    subprocess.run(command, check=True, cwd=ROOT, env=environment(options.directory))


def log_of(directory: Path) -> str:
    """Returns what all processes have written to stderr."""
    return "".join(path.read_text(encoding="utf-8") for path in sorted(directory.glob("*.log")))
