"""Checkpoints within an epoch: wherever a run is ended, it goes on to the same bits; damaged ones are passed over."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from orbax.checkpoint import CheckpointManager

import lrtrain
from lrtrain.engine.engine import Engine, TrainState
from lrtrain.errors import RunDirError, ScheduleError, TrainingError, UsageError
from lrtrain.plugins.context import StepInfo
from lrtrain.signals import Terminated
from lrtrain.training.checkpoint_rule import CheckpointRule
from lrtrain.training.checkpoints import Checkpoints
from lrtrain.training.chunks import Pace
from lrtrain.training.position import Position
from lrtrain.training.reporter import Begin, NullReporter
from tests.lab import SPEC, Dies, Killed, last_position, same_run

# Both hooks ask, at steps that lie anywhere in a chunk; factors whose product depends on the order in the last bit.
OBSERVER = """
@dataclass(frozen=True)
class Plugin:
    "Asks often."
    @hookimpl
    def on_step(self, step):
        return ScaleLearningRate(0.9 + step.step / 700) if step.step % 5 in (0, 3) else None
    @hookimpl
    def on_epoch_end(self, epoch, history):
        if epoch.epoch == 2:
            return Stop("enough")
        return ScaleLearningRate(1.3 if history[-1].train_loss > 0.5 else 1.1)
"""


class Signals(NullReporter):
    """Sends a signal when a step has been delivered."""

    def __init__(self, number: int, step: int) -> None:
        self.number, self.step, self.begun = number, step, []
        self.seen: list[int] = []

    def begin(self, begin: Begin) -> None:
        self.begun.append(begin)

    def stepped(self, step: StepInfo, examples_per_second: float) -> None:
        self.seen.append(step.step)
        if step.step >= self.step:
            self.step = 10**9
            signal.raise_signal(self.number)


@pytest.fixture(scope="module")
def options(tiny: Path) -> dict[str, Any]:
    # 36 steps an epoch: chunks of 16, 16 and 4.
    return {"dataset": "tiny", "data_dir": tiny, "batch_size": 2, "epochs": 4, "optimizer": "adam"}


def test_ended_by_signals_again_and_again_it_is_the_same_to_the_bit(
    options: dict[str, Any], tmp_path: Path, install_plugin: Callable[..., str]
) -> None:
    observer = install_plugin("often", OBSERVER)
    whole = lrtrain.train(SPEC, observer, run_dir=tmp_path / "whole", **options)
    assert whole.stopped == "often: enough"
    torn = tmp_path / "torn"
    with pytest.raises(KeyboardInterrupt):
        lrtrain.train(SPEC, observer, run_dir=torn, reporter=Signals(signal.SIGINT, 3), **options)
    ends = []
    for number, step in [(signal.SIGTERM, 9), (signal.SIGINT, 20), (signal.SIGTERM, 37), (signal.SIGINT, 70)]:
        position = last_position(torn)[0]
        assert len((torn / "steps.csv").read_text().splitlines()) == position.step + 1, "a checkpoint of the last step"
        ends.append(position.step)
        with pytest.raises(Terminated if number == signal.SIGTERM else KeyboardInterrupt) as error:
            lrtrain.train(run_dir=torn, resume=True, reporter=Signals(number, step))
        assert number == signal.SIGINT or error.value.code == 143  # type: ignore[attr-defined]
    assert any(step % 36 for step in ends), "within an epoch"
    assert lrtrain.train(run_dir=torn, resume=True).stopped == "often: enough"
    same_run(tmp_path / "whole", torn)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.filterwarnings("ignore:.*was never awaited:RuntimeWarning")
def test_killed_with_a_checkpoint_every_seven_steps(
    options: dict[str, Any], tmp_path: Path, install_plugin: Callable[..., str]
) -> None:
    observer = install_plugin("often", OBSERVER)
    lrtrain.train(SPEC, observer, run_dir=tmp_path / "whole", **options)
    torn = tmp_path / "torn"
    with pytest.raises(Killed):
        lrtrain.train(SPEC, observer, run_dir=torn, checkpoint_every=7, reporter=Dies(step=52), **options)
    steps = sorted(int(path.name[5:]) for path in (torn / "checkpoints").glob("step_*"))
    assert steps[-1] in (49, 56), "at a multiple of seven"
    assert 36 in steps, "the best one, or one of the last three"
    lrtrain.train(run_dir=torn, resume=True)
    assert json.loads((torn / "config.json").read_text())["checkpoint_every"] == "7"
    same_run(tmp_path / "whole", torn)


def test_the_best_is_kept_across_a_resume_and_partial_epochs(tmp_path: Path) -> None:
    table, state = np.full(90, 0.1, np.float32), {"kernel": np.arange(6.0, dtype=np.float32)}
    from lrtrain.plugins.context import EpochInfo

    def save(checkpoints: Checkpoints, step: int, accuracy: float | None) -> None:
        history = () if accuracy is None else (EpochInfo(0, step, 1.0, 1.0, accuracy, 0.1, 1.0),)
        checkpoints.save(state, table, Position(step, 1.0, 0, history, (1.0,) if accuracy is None else ()))  # type: ignore[arg-type]

    checkpoints = Checkpoints(tmp_path / "checkpoints")
    save(checkpoints, 10, 0.9)
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step in (20, 30, 40, 50):
        save(checkpoints, step, 0.5 if step == 20 else None)
    checkpoints.close()
    assert {path.name for path in (tmp_path / "checkpoints").glob("step_*")} == {f"step_{n}" for n in (10, 30, 40, 50)}


@pytest.fixture(scope="module")
def trained(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    lrtrain.train(SPEC, run_dir=run, checkpoint_every="1ep", **options)
    return run


@pytest.fixture
def three(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def largest(directory: Path) -> Path:
    return max((path for path in directory.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def flip(path: Path) -> None:
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda step: largest(step / "state" / "d").write_bytes(b""),
    "flipped": lambda step: flip(largest(step / "state" / "d")),
    "flipped table": lambda step: flip(largest(step / "learning_rates" / "checkpoint")),
    "another number": lambda step: (step / "progress" / "metadata").write_text(
        (step / "progress" / "metadata").read_text().replace('"scale": 1.0', '"scale": 1.5')
    ),
    "not JSON": lambda step: (step / "progress" / "metadata").write_text("{"),
    "metrics": lambda step: (step / "metrics" / "metrics").write_text("{"),
    "missing": lambda step: shutil.rmtree(step / "state"),
    "removed": shutil.rmtree,
}


def test_a_damaged_checkpoint_is_passed_over_and_named(three: Path, tmp_path: Path) -> None:
    for name, damage in DAMAGES.items():
        run = Path(shutil.copytree(three, tmp_path / name.replace(" ", "-")))
        damage(run / "checkpoints" / "step_144")
        reporter = Signals(signal.SIGINT, 10**9)
        lrtrain.train(run_dir=run, resume=True, reporter=reporter)
        (begin,) = reporter.begun
        assert begin.step == 108, name
        if name not in ("removed", "metrics"):
            assert begin.note is not None, name
            assert "damaged and left out: step_144 (" in begin.note
            assert "goes on from step 108" in begin.note
            assert (run / "checkpoints" / "damaged_step_144").is_dir(), "nothing is removed"
        same_run(three, run)


def test_when_no_checkpoint_is_valid_it_says_so_and_touches_nothing(three: Path) -> None:
    for step in (three / "checkpoints").glob("step_*"):
        DAMAGES["flipped"](step)
    logs = {path: path.read_bytes() for path in three.iterdir() if path.is_file()}
    with pytest.raises(RunDirError, match="has no valid checkpoint: step_144") as error:
        lrtrain.train(run_dir=three, resume=True)
    assert "\n" not in str(error.value)
    shutil.rmtree(three / "checkpoints")
    with pytest.raises(RunDirError, match="has no checkpoint to resume from"):
        lrtrain.train(run_dir=three, resume=True)
    assert {path: path.read_bytes() for path in logs} == logs


def test_what_a_later_version_wrote_is_refused(three: Path) -> None:
    item = three / "checkpoints" / "step_144" / "progress" / "metadata"
    item.write_text(item.read_text().replace('"version": 2', '"version": 3'))
    with pytest.raises(RunDirError, match=r"step 144 is of version 3, .* up to 2: it was written by a later lrtrain"):
        lrtrain.train(run_dir=three, resume=True)
    config = three / "config.json"
    config.write_text(config.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(RunDirError, match="written by a later lrtrain"):
        lrtrain.train(run_dir=three, resume=True)


def test_a_checkpoint_of_version_1_is_read() -> None:
    values = {**Position(4, 0.5, 7).to_json(), "version": 1, "fingerprint": "x"}
    del values["asked"]
    assert Position.from_json(values).to_json() == Position(4, 0.5, 7).to_json()


def test_torn_lines_are_healed(three: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(three, tmp_path / "torn"))
    shutil.rmtree(run / "checkpoints" / "step_144")
    with (run / "steps.csv").open("ab") as file:
        file.write(b"144,4,0.0\xff")
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join([*lines[:3], lines[3][:20], ""]))
    lrtrain.train(run_dir=run, resume=True)
    same_run(three, run)


def test_a_run_that_has_no_checkpoint_yet_keeps_its_schedule(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Killed):
        lrtrain.train(SPEC, run_dir=tmp_path / "run", reporter=Dies(step=3), **options)
    with pytest.raises(ScheduleError, match="which has no checkpoint yet: leave it as it was"):
        lrtrain.train("constant(value=0.01)", run_dir=tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("200", CheckpointRule("200", steps=200)),
        (200, CheckpointRule("200", steps=200)),
        ("30s", CheckpointRule("30s", seconds=30)),
        ("5min", CheckpointRule("5min", seconds=300)),
        ("1h", CheckpointRule("1h", seconds=3600)),
        ("3ep", CheckpointRule("3ep", epochs=3)),
        ("auto", CheckpointRule("auto", apart=30)),
    ],
)
def test_rules(text: object, rule: CheckpointRule) -> None:
    assert CheckpointRule.parse(text) == rule


@pytest.mark.parametrize("text", ["0", "0s", "-5", "5 min", "1.5h", "ep", "5m", "", True, "1" * 10])
def test_rules_that_are_none(text: object) -> None:
    with pytest.raises(UsageError, match="expected a number of steps") as error:
        lrtrain.train("constant", checkpoint_every=text)  # type: ignore[arg-type]
    assert f"checkpoint_every={text} is refused" in str(error.value)


def test_portions_follow_the_clock_and_the_checkpoints() -> None:
    def portions(pace: Pace, begin: int = 0, end: int = 16) -> list[int]:
        return [until for _, until in pace.portions(begin, end)]

    rule = CheckpointRule.parse("1ep")
    assert portions(Pace(16, rule, measured=False)) == [16]
    pace = Pace(16, rule, measured=True)
    assert portions(pace, 0, 3) == [1, 2, 3], "nothing is known yet"
    pace.took(1, 0.03)
    assert portions(pace) == [16]
    pace.took(16, 1.6)
    assert portions(pace) == [6, 12, 16], "equal portions of less than three quarters of a second"
    pace.took(1, 5.0)
    assert len(portions(pace)) == 16
    assert portions(Pace(16, CheckpointRule.parse(7), measured=False), 16, 32) == [21, 28, 32]


def test_a_directory_that_is_removed_meanwhile(options: dict[str, Any], tmp_path: Path) -> None:
    class Removes(NullReporter):
        def stepped(self, step: StepInfo, examples_per_second: float) -> None:
            shutil.rmtree(tmp_path / "run", ignore_errors=True)

    with pytest.raises(TrainingError, match="run has been removed while the run was writing to it"):
        lrtrain.train(SPEC, run_dir=tmp_path / "run", reporter=Removes(), **options)
    assert not (tmp_path / "run").exists()


def test_what_the_system_refuses_is_one_sentence(
    three: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("lrtrain.files.os.fsync", refuse)
    with pytest.raises(TrainingError, match=r"run cannot be written \(Read-only file system\)") as error:
        lrtrain.train(run_dir=three, resume=True)
    assert (error.value.exit_code, str(error.value).count("\n")) == (1, 0)


def test_a_position_comes_back_as_it_was() -> None:
    position = dataclasses.replace(Position(40, 0.7, 1), pending=((48, 0.1 + 0.2, None), (64, 1.0, "enough")))
    assert Position.from_json(json.loads(json.dumps(position.to_json()))).to_json() == position.to_json()


def test_a_run_that_fails_right_after_an_epoch_has_its_checkpoint(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The checkpoint is written beside the next steps, and these cannot begin.
    run_steps = Engine.run_steps

    def fails_in_the_third_epoch(engine: Engine, state: TrainState, examples: Any, *rest: Any) -> Any:
        if len(examples) and int(state.step) == 72:
            raise MemoryError("none left")
        return run_steps(engine, state, examples, *rest)

    lrtrain.train(SPEC, run_dir=tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "run_steps", fails_in_the_third_epoch)
        with pytest.raises(MemoryError, match="none left"):
            lrtrain.train(SPEC, run_dir=tmp_path / "failed", **options)
    checkpoints = sorted(path.name for path in (tmp_path / "failed" / "checkpoints").glob("step_*"))
    assert checkpoints == ["step_36", "step_72"]
    lrtrain.train(run_dir=tmp_path / "failed", resume=True)
    same_run(tmp_path / "whole", tmp_path / "failed")


def test_a_checkpoint_is_written_beside_the_next_steps(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def noted(kind: type, name: str) -> None:
        function = getattr(kind, name)

        def call(*args: Any, **named: Any) -> Any:
            done.append(name)
            return function(*args, **named)

        monkeypatch.setattr(kind, name, call)

    monkeypatch.setattr("lrtrain.training.chunks.PORTION_SECONDS", 1e9)
    noted(Engine, "run_steps")
    noted(CheckpointManager, "save")
    lrtrain.train(SPEC, run_dir=tmp_path / "run", checkpoint_every="1ep", **options)
    # In an epoch 16, 16 and 4 steps; the first one begins with a single step, before anything is known of their time.
    whole = ["run_steps", "save", "run_steps", "run_steps"]
    assert done[-9:] == [*whole, *whole, "save"]
