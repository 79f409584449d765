"""Between two epochs the devices have work: what is sent before what is recorded, and which checkpoints are written."""

from __future__ import annotations

import csv
import itertools
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import lrtrain
from lrtrain.engine.engine import Engine
from lrtrain.engine.order import epoch_order
from lrtrain.errors import TrainingError
from lrtrain.plugins.context import EpochInfo, StepInfo
from lrtrain.plugins.observers import Observers
from lrtrain.runs.reading import checkpoint_steps
from lrtrain.runs.train_config import TrainConfig
from lrtrain.training import orders
from lrtrain.training.checkpoint_rule import AUTO, CheckpointRule
from lrtrain.training.checkpoints import Checkpoints
from lrtrain.training.loop import Loop
from lrtrain.training.position import Position
from lrtrain.training.reporter import NullReporter
from tests.lab import SPEC, Dies, Killed, same_run

# Each hook is there, and asks for nothing.
SEES_EPOCHS = """
@dataclass(frozen=True)
class Plugin:
    "Looks at epochs."
    @hookimpl
    def on_epoch_end(self, epoch):
        return None
"""
SEES_STEPS = """
@dataclass(frozen=True)
class Plugin:
    "Halves the learning rate at the last step of the first epoch."
    @hookimpl
    def on_step(self, step):
        return ScaleLearningRate(0.5) if step.step == 35 else None
"""


@pytest.fixture
def options(tiny: Path) -> dict[str, Any]:
    # 36 steps an epoch: chunks of 16, 16 and 4.
    return {"dataset": "tiny", "data_dir": tiny, "batch_size": 2, "epochs": 3, "optimizer": "adam"}


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns a list that receives what is sent to the devices, in whole chunks."""
    names: list[str] = []

    def noted(name: str) -> None:
        function = getattr(Engine, name)

        def call(*args: Any, **named: Any) -> Any:
            names.append(name)
            return function(*args, **named)

        monkeypatch.setattr(Engine, name, call)

    noted("run_steps")
    noted("evaluate")
    monkeypatch.setattr("lrtrain.training.chunks.PORTION_SECONDS", 1e9)
    return names


class Notes(NullReporter):
    def __init__(self, done: list[str]) -> None:
        self._done = done

    def stepped(self, step: StepInfo, examples_per_second: float) -> None:
        self._done.append("stepped")

    def epoch_ended(self, epoch: EpochInfo, examples_per_second: float) -> None:
        self._done.append("epoch_ended")


AHEAD = [
    "run_steps",
    "evaluate",
    *("stepped", "stepped"),
    *("run_steps", "epoch_ended"),
    *("run_steps", "stepped", "run_steps"),
]


def test_the_next_epoch_is_sent_before_the_last_one_is_recorded(
    options: dict[str, Any], tmp_path: Path, done: list[str], install_plugin: Callable[..., str]
) -> None:
    for plugins in [(SPEC,), (SPEC, install_plugin("steps", SEES_STEPS))]:
        done.clear()
        lrtrain.train(*plugins, run_dir=tmp_path / f"run-{len(plugins)}", reporter=Notes(done), **options)
        # From the last steps of the second epoch, whose evaluation follows them at once, into the third.
        first = [place for place, name in enumerate(done) if name == "evaluate"][1] - 1
        assert done[first : first + 9] == AHEAD


def test_a_hook_sees_an_epoch_before_the_next_one_is_sent(
    options: dict[str, Any],
    tmp_path: Path,
    done: list[str],
    install_plugin: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    epoch_end = Observers.epoch_end

    def noted(*args: Any) -> Any:
        done.append("hook")
        return epoch_end(*args)

    monkeypatch.setattr(Observers, "epoch_end", noted)
    lrtrain.train(
        SPEC, install_plugin("epochs", SEES_EPOCHS), run_dir=tmp_path / "run", reporter=Notes(done), **options
    )
    first = [place for place, name in enumerate(done) if name == "evaluate"][1] - 1
    assert done[first : first + 7] == [
        "run_steps",
        "evaluate",
        "stepped",
        "stepped",
        "hook",
        "run_steps",
        "epoch_ended",
    ]


def test_both_ways_give_the_same_bits(
    options: dict[str, Any], tmp_path: Path, install_plugin: Callable[..., str]
) -> None:
    steps, epochs = install_plugin("steps", SEES_STEPS), install_plugin("epochs", SEES_EPOCHS)
    ahead = lrtrain.train(SPEC, steps, run_dir=tmp_path / "ahead", **options)
    lrtrain.train(SPEC, steps, epochs, run_dir=tmp_path / "in-turn", **options)
    same_run(tmp_path / "ahead", tmp_path / "in-turn")
    with (tmp_path / "ahead" / "steps.csv").open(newline="") as file:
        rates = np.array([row["learning_rate"] for row in csv.DictReader(file)], np.float32)
    factors = np.repeat(np.float32([1, 0.5, 0.5]), 36)
    np.testing.assert_array_equal(rates, ahead.learning_rates * factors, "what a last step asks for holds at once")


@pytest.mark.parametrize("death", [Dies(epoch=1), Dies(step=75)], ids=["at its end", "in the next"])
def test_killed_while_the_next_epoch_runs_it_goes_on_to_the_same_bits(
    options: dict[str, Any], tmp_path: Path, install_plugin: Callable[..., str], death: Dies
) -> None:
    steps = install_plugin("steps", SEES_STEPS)
    lrtrain.train(SPEC, steps, run_dir=tmp_path / "whole", **options)
    with pytest.raises(Killed):
        lrtrain.train(SPEC, steps, run_dir=tmp_path / "torn", reporter=death, **options)
    assert checkpoint_steps(tmp_path / "torn")[-1] == (36 if death.epoch else 72)
    lrtrain.train(run_dir=tmp_path / "torn", resume=True)
    same_run(tmp_path / "whole", tmp_path / "torn")


def test_a_loss_that_is_not_finite_in_the_evaluation_leaves_no_step_of_the_next_epoch(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact, seen = Engine.exact, []

    def diverges(engine: Engine, *args: Any) -> Any:
        seen.append(exact(engine, *args))
        return {**seen[-1], "loss": np.float64("nan")} if len(seen) == 2 else seen[-1]

    monkeypatch.setattr(Engine, "exact", diverges)
    with pytest.raises(TrainingError, match=r"after step 71, .*the checkpoint of step 36 is kept"):
        lrtrain.train(SPEC, run_dir=tmp_path / "run", **options)
    assert len((tmp_path / "run" / "steps.csv").read_text().splitlines()) == 1 + 72
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1


# --------------------------------------------------------------------------------------------------------------- orders


def test_the_order_of_an_epoch_is_made_while_the_one_before_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, bool]] = []

    def noted(seed: int, epoch: int, *rest: Any, **named: Any) -> Any:
        made.append((epoch, threading.current_thread() is threading.main_thread()))
        return epoch_order(seed, epoch, *rest, **named)

    monkeypatch.setattr(orders, "epoch_order", noted)
    with orders.Orders(TrainConfig(epochs=5, batch_size=10, seed=3), 72) as made_ahead:
        for epoch in (2, 3, 4):
            order, weights = made_ahead.of(epoch)
            same, ones = epoch_order(3, epoch, 72, 10, shuffle=True)
            np.testing.assert_array_equal(order, same)
            np.testing.assert_array_equal(weights, ones)
    assert made == [(2, True), (3, False), (4, False)], "none after the last epoch"


# ---------------------------------------------------------------------------------------------------------- checkpoints


def saved(checkpoints: Checkpoints, accuracies: list[float], *, at_once: bool) -> None:
    """Saves the checkpoint of the last of some epochs, each of ten steps."""
    history = tuple(EpochInfo(n, 10 * n + 10, 1.0, 1.0, each, 0.1, 1.0) for n, each in enumerate(accuracies))
    state: Any = {"kernel": np.full(6, len(accuracies), np.float32)}
    position = Position(10 * len(accuracies), 1.0, 0, history)
    checkpoints.save(state, np.full(90, 0.1, np.float32), position, at_once=at_once)


def steps_in(directory: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step_")) for path in directory.glob("step_*"))


def test_of_those_held_back_the_best_and_the_last_are_written(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    accuracies = [0.1, 0.5, 0.9, 0.3, 0.9, 0.2]
    for count in range(1, 5):
        saved(checkpoints, accuracies[:count], at_once=False)
        checkpoints.write()
    assert steps_in(tmp_path / "checkpoints") == []
    checkpoints.wait()
    assert steps_in(tmp_path / "checkpoints") == [30, 40]
    saved(checkpoints, accuracies[:5], at_once=False)
    saved(checkpoints, accuracies, at_once=True)
    checkpoints.write()
    checkpoints.close()
    assert steps_in(tmp_path / "checkpoints") == [40, 50, 60], "of equals the last one, as Orbax has it"


@pytest.mark.parametrize(("seconds", "expected"), [
    (4, [1, 2, 9, 12]),
    (6, [*range(1, 13)]),
], ids=["short epochs: the first, the best with the next that is due, and the end", "all others"])  # fmt: skip
def test_by_default_those_of_short_epochs_are_written_half_a_minute_apart(
    seconds: int, expected: list[int], options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = Checkpoints._write

    def noted(self: Checkpoints, state: Any, table: Any, position: Position, first: Any) -> None:
        written.append(position.step // 36)
        write(self, state, table, position, first)

    class Clock(NullReporter):
        now = 1000.0

        def epoch_ended(self, epoch: EpochInfo, examples_per_second: float) -> None:
            self.now += seconds

    reporter, ticks = Clock(), itertools.count(1e-6, 1e-6)
    clock = types.SimpleNamespace(monotonic=lambda: reporter.now, perf_counter=lambda: reporter.now + next(ticks))
    monkeypatch.setattr("lrtrain.training.loop.time", clock)
    monkeypatch.setattr(Checkpoints, "_write", noted)
    monkeypatch.setattr(Checkpoints, "_is_best", lambda self, position: len(position.history) == 2)
    result = lrtrain.train(SPEC, run_dir=tmp_path / "run", reporter=reporter, **{**options, "epochs": 12})
    assert AUTO.apart == 30
    assert written == expected
    assert lrtrain.train(run_dir=result.run_dir, resume=True).steps == 432


def test_the_best_epoch_can_be_taken_from_a_run_that_holds_checkpoints_back(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrtrain.training.job.AUTO", CheckpointRule("auto", apart=10**9))
    result = lrtrain.train(SPEC, run_dir=tmp_path / "run", **{**options, "epochs": 8})
    best = max(epoch.test_accuracy for epoch in result.history)
    assert result.best is not None
    assert result.best.test_accuracy == best
    assert len(checkpoint_steps(result.run_dir)) < 8


class Epochs(NullReporter):
    """Notes the epochs."""

    def __init__(self) -> None:
        self.epochs: list[EpochInfo] = []

    def epoch_ended(self, epoch: EpochInfo, examples_per_second: float) -> None:
        self.epochs.append(epoch)


SLEEPS = """
import time

@dataclass(frozen=True)
class Plugin:
    @hookimpl
    def on_epoch_end(self, epoch):
        time.sleep(0.7)
"""


def test_the_time_of_a_hook_belongs_to_no_epoch(
    options: dict[str, Any], tmp_path: Path, install_plugin: Callable[..., str]
) -> None:
    reporter = Epochs()
    lrtrain.train(SPEC, install_plugin("sleeps", SLEEPS), run_dir=tmp_path / "run", reporter=reporter, **options)
    assert len(reporter.epochs) == options["epochs"]
    # An epoch takes some hundredths of a second; on a busy machine one may take longer.
    assert min(epoch.seconds for epoch in reporter.epochs[1:]) < 0.7


def test_the_speed_of_an_epoch_is_of_all_its_steps(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One portion is the whole epoch, and its steps are done when the epoch before is recorded."""
    monkeypatch.setattr("lrtrain.training.chunks.PORTION_SECONDS", 1e9)
    finish = Loop._finish_epoch

    def late(self: Loop) -> None:
        if self._ended is not None and self._next_sent_at is not None:
            jax.block_until_ready(self._state.params)
            time.sleep(0.2)
        finish(self)

    monkeypatch.setattr(Loop, "_finish_epoch", late)
    reporter = Epochs()
    lrtrain.train(SPEC, run_dir=tmp_path / "run", reporter=reporter, **{**options, "batch_size": 8})
    for epoch in reporter.epochs[1:]:
        assert epoch.seconds >= 0.2
        assert epoch.examples_per_second <= 72 / 0.2


def test_what_was_held_back_is_written_although_the_best_could_not_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def write(self: Checkpoints, state: Any, table: Any, position: Position, first: Any) -> None:
        if position.step == 10:
            raise TrainingError("no room")
        written.append(position.step)

    monkeypatch.setattr(Checkpoints, "_write", write)
    checkpoints = Checkpoints(tmp_path)
    monkeypatch.setattr(Checkpoints, "_is_best", lambda self, position: position.step == 10)
    state: Any = None
    for step in (10, 20):
        checkpoints.save(state, np.zeros(20, np.float32), Position(step, 1.0, 0), at_once=False)
    with pytest.raises(TrainingError, match="no room"):
        checkpoints.close()
    assert written == [20]
