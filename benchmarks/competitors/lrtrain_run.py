"""All of lrtrain: `lrtrain.train` with progress bar, metrics, logs and checkpoints, halted after some epochs.

A round is the time from one halt to the next: the checkpoint of the epoch before, the steps, logs, hooks and the bar.
The evaluations are taken out, from the last step to their result, as a thread sees that waits for the devices: the
other competitors have none. An epoch at whose end the run halts is recorded before the next one begins, or steps of the
next one would be done outside of any round.

If asked for, a bare loop trains half as many steps right before and right after, with the same engine in
the same process: two processes that run the same program differ by some 5% for as long as they live, and a machine's
speed drifts by more within a minute; both are more than the difference that is measured here.
"""

from __future__ import annotations

import contextlib
import csv
import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import jax

import lrtrain
from benchmarks.competitors import Train
from benchmarks.competitors.bare_loop import around, beside_halves, with_processor_time
from benchmarks.on_step_plugin import installed
from benchmarks.options import jax_platform
from benchmarks.problem import ALL_EXAMPLES, BATCH, FIRST_STEPS, LEARNING_RATE, Problem, Round
from benchmarks.processor_time import beside_xla, spent
from lrtrain.cli.progress import RunReporter, make_bar
from lrtrain.engine.engine import Engine, Losses
from lrtrain.plugins.context import EpochInfo
from lrtrain.training.loop import Loop
from lrtrain.training.reporter import Begin

if TYPE_CHECKING:
    from rich.progress import Progress

_SCHEDULE = f"constant(value={LEARNING_RATE})"
# What is done between two epochs counts where an epoch takes a tenth of a second, so there a round has several.
_SHORT = 10
_EPOCHS = 1 if jax_platform() == "cpu" else _SHORT


def make(problem: Problem) -> Train:
    """The main job, with a plugin that has no hook but the schedule's."""
    return Halting(problem, [_SCHEDULE], _options(problem))


def make_beside_bare(problem: Problem) -> Train:
    """The main job, with a bare loop before and after each epoch."""
    return Halting(problem, [_SCHEDULE], _options(problem), bare=True, epochs=_EPOCHS)


def make_with_on_step(problem: Problem) -> Train:
    """The same, with a plugin that looks at every loss."""
    return Halting(problem, [_SCHEDULE, installed(problem.directory)], _options(problem))


def make_with_on_step_beside_bare(problem: Problem) -> Train:
    """Both."""
    return Halting(problem, [_SCHEDULE, installed(problem.directory)], _options(problem), bare=True, epochs=_EPOCHS)


def make_short_beside_bare(problem: Problem) -> Train:
    """Epochs of a tenth of a second on CPU: those of a linear network, with a plugin that looks at every loss."""
    options = {**_options(problem), "model": "benchmarks.own_networks:Linear"}
    return Halting(problem, [_SCHEDULE, installed(problem.directory)], options, bare=True, epochs=_SHORT)


def _options(problem: Problem) -> dict[str, Any]:
    examples = len(problem.train.targets)
    return {"batch_size": BATCH, "train_size": None if examples == ALL_EXAMPLES else examples}


class Halting:
    """A run in a thread of its own, with options of `lrtrain.train`, which trains some epochs when it is called."""

    def __init__(
        self, problem: Problem, plugins: list[str], options: dict[str, Any], *, bare: bool = False, epochs: int = 1
    ) -> None:
        self._problem = problem
        self._has_bare = bare
        self._epochs = epochs
        self._plugins = plugins
        self._options = options
        self._line = _Line()
        self._thread = threading.Thread(target=self._train, daemon=True)
        self._thread.start()

    def __call__(self, steps: int) -> Round:
        self._line.go.release()
        said = self._line.said.get()
        if isinstance(said, Exception):
            raise said
        return said

    def close(self) -> None:
        """Waits for the end of the run, or stops it if it has epochs left."""
        self._line.closed = True
        self._line.go.release()
        self._thread.join(timeout=60)

    def _train(self) -> None:
        try:
            with (
                contextlib.suppress(_BrokenOffError),
                compilations() as compiled,
                evaluations_timed() as evaluations,
                _in_turn_every(self._epochs),
                _bar() as bar,
            ):
                lrtrain.train(
                    *self._plugins,
                    # One round to warm up.
                    **{"epochs": (self._problem.rounds + 1) * self._epochs, **self._options},
                    shuffle=False,
                    run_dir=tempfile.mkdtemp(prefix="run-", dir=self._problem.directory),
                    reporter=_Reporter(
                        bar, self._line, evaluations, compiled, bare=self._has_bare, epochs=self._epochs
                    ),
                )
        except Exception as error:
            self._line.said.put(error)
            raise


class _Line:
    """The signals between the run's thread and the thread that times it."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.said: queue.SimpleQueue[Round | Exception] = queue.SimpleQueue()
        self.closed = False


class _BrokenOffError(Exception):
    """The rest of the run is not needed."""


class _Reporter(RunReporter):
    """Draws the bar of the command line, and halts before the first epoch and after each round.

    Also after the last one: the work at the end of a run would disturb the competitor that is timed next.
    """

    def __init__(
        self, bar: Progress, line: _Line, evaluations: Evaluations, compiled: list[str], *, bare: bool, epochs: int
    ) -> None:
        super().__init__(bar)
        self._progress = bar
        self._line = line
        self._evaluations = evaluations
        self._compiled = compiled
        self._began = 0.0
        self._has_bare = bare
        self._epochs = epochs
        self._bare: Train | None = None
        self._bare_before: Round | None = None
        self._aside_began: float | None = None

    def begin(self, begin: Begin) -> None:
        super().begin(begin)
        self._run, self._examples = begin.run, begin.examples[0]
        self._halt(begin.run.epochs)

    def epoch_ended(self, epoch: EpochInfo, examples_per_second: float) -> None:
        super().epoch_ended(epoch, examples_per_second)
        done = epoch.epoch + 1
        if done % self._epochs:
            return
        seconds, aside = time.perf_counter() - self._began, spent(self._aside_began)
        # The bar's thread would draw during the measurements.
        self._progress.stop()
        seconds -= self._evaluations.taken()
        losses = _first_losses(self._run.directory) if done == self._epochs else [epoch.train_loss]
        in_an_epoch = None if aside is None else aside / self._epochs
        steps = self._epochs * self._run.steps_per_epoch
        made = Round(seconds / steps, losses, len(self._compiled))
        if self._bare_before is not None and (after := self._bare_half()) is not None:
            made = beside_halves(made._replace(aside=in_an_epoch), self._bare_before, after)
        self._line.said.put(made)
        self._halt(self._run.epochs - done)

    def _bare_half(self) -> Round | None:
        """Returns the mean of the halves of epochs of a bare loop, as many as a round has epochs."""
        engine = self._evaluations.engine
        if engine is None or not self._has_bare:
            return None
        self._bare = self._bare or around(engine, engine.init(0), self._examples)
        half = max(1, self._run.steps_per_epoch // 2)
        halves = [with_processor_time(self._bare, half) for _ in range(self._epochs)]
        asides = [each.aside for each in halves if each.aside is not None]
        seconds = statistics.mean(each.seconds for each in halves)
        return halves[-1]._replace(seconds=seconds, aside=statistics.mean(asides) if asides else None)

    def _halt(self, epochs_left: int) -> None:
        # Its thread would go on drawing while others are timed.
        self._progress.stop()
        self._line.go.acquire()
        if self._line.closed and epochs_left:
            raise _BrokenOffError
        self._bare_before = self._bare_half() if epochs_left else None
        self._progress.start()
        self._aside_began = beside_xla()
        self._began = time.perf_counter()


@contextlib.contextmanager
def _in_turn_every(epochs: int) -> Iterator[None]:
    """Lets every so many epochs be recorded before the next one is sent to the devices."""
    goes_ahead = Loop._goes_ahead

    def unless_it_halts(self: Loop) -> bool:
        return goes_ahead(self) and self.step // self.recorder.run.steps_per_epoch % epochs > 0

    with patch.object(Loop, "_goes_ahead", unless_it_halts):
        yield


@contextlib.contextmanager
def _bar() -> Iterator[Progress]:
    """Makes the command line's bar, on a terminal that is not shown."""
    from rich.console import Console

    with (
        Path("/dev/null").open("w", encoding="utf-8") as nowhere,
        make_bar(Console(file=nowhere, force_terminal=True, width=120)) as bar,
    ):
        yield bar


class Evaluations:
    """The time of the evaluations, and the engine that did them."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.steps: Losses | None = None
        self._waiting: list[Future[float]] = []
        self._pool = ThreadPoolExecutor(1)

    def add(self, engine: Engine, means: Any) -> None:
        """Notes an evaluation that has been sent to the devices after the last ``steps``."""
        self.engine = engine
        self._waiting.append(self._pool.submit(_seconds_between, self.steps, means))

    def taken(self) -> float:
        """Returns the seconds that the evaluations since the last call have taken, and waits for them."""
        waiting, self._waiting = self._waiting, []
        return sum(each.result() for each in waiting)


def _seconds_between(first: Any, second: Any) -> float:
    jax.block_until_ready(first)
    start = time.perf_counter()
    jax.block_until_ready(second)
    return time.perf_counter() - start


@contextlib.contextmanager
def evaluations_timed() -> Iterator[Evaluations]:
    """Notes how long each evaluation takes."""
    evaluations = Evaluations()
    run_steps, evaluate = Engine.run_steps, Engine.evaluate

    def noted(self: Engine, *args: Any) -> Any:
        state, evaluations.steps = run_steps(self, *args)
        return state, evaluations.steps

    def timed(self: Engine, state: Any) -> Any:
        means = evaluate(self, state)
        evaluations.add(self, means)
        return means

    with patch.multiple(Engine, run_steps=noted, evaluate=timed):
        yield evaluations


@contextlib.contextmanager
def compilations() -> Iterator[list[str]]:
    """Notes each compilation of the training step."""
    names: list[str] = []

    def note(event: str, duration_secs: float, **details: Any) -> None:
        name = str(details.get("fun_name", ""))
        if event == "/jax/core/compile/backend_compile_duration" and "run_" in name:
            names.append(name)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


def _first_losses(run_dir: Path) -> list[float]:
    with (run_dir / "steps.csv").open(encoding="utf-8") as file:
        return [float(row["loss"]) for row, _ in zip(csv.DictReader(file), range(FIRST_STEPS), strict=False)]
