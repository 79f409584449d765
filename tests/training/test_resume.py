"""A run that was stopped and resumed equals one that was not, to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import lrtrain
from lrtrain.errors import RunDirError, ScheduleError, UsageError
from lrtrain.plugins.context import EpochInfo, StepInfo
from lrtrain.training.checkpoints import Checkpoints
from lrtrain.training.reporter import NullReporter

SPEC = "sgdr(cycles=2, init_value=0.002, peak_value=0.01, end_value=0.001)"


class Killed(BaseException):
    """Stands for a process that dies: nothing catches it."""


class KillAfter(NullReporter):
    """Dies when an epoch has been evaluated, or in the middle of one."""

    def __init__(self, *, epoch: int | None = None, step: int | None = None) -> None:
        self.epoch, self.step = epoch, step

    def epoch_ended(self, epoch: EpochInfo, examples_per_second: float) -> None:
        if epoch.epoch == self.epoch:
            raise Killed

    def stepped(self, step: StepInfo, examples_per_second: float) -> None:
        if self.step is not None and step.step >= self.step:
            raise Killed


@pytest.fixture
def options(tiny: Path) -> dict[str, Any]:
    return {"dataset": "tiny", "data_dir": tiny, "batch_size": 4, "epochs": 5, "optimizer": "adam"}


def without_times(run_dir: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "examples_per_second")} for line in lines]


def final_arrays(run_dir: Path) -> dict[str, Any]:
    """Reads a checkpoint without any code of lrtrain."""
    import orbax.checkpoint as ocp

    newest = max((run_dir / "checkpoints").glob("step_*"), key=lambda path: int(path.name.split("_")[1]))
    with ocp.StandardCheckpointer() as checkpointer:
        restored: dict[str, Any] = checkpointer.restore(newest / "state")
    return restored


def assert_same_run(one: Path, other: Path) -> None:
    assert (one / "steps.csv").read_bytes() == (other / "steps.csv").read_bytes()
    assert without_times(one) == without_times(other)
    left, right = jax.tree.flatten(final_arrays(one)), jax.tree.flatten(final_arrays(other))
    assert str(left[1]) == str(right[1])
    for a, b in zip(left[0], right[0], strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("death", [KillAfter(epoch=0), KillAfter(epoch=2), KillAfter(step=60)], ids=["0", "2", "mid"])
@pytest.mark.filterwarnings("ignore:.*was never awaited:RuntimeWarning")
def test_killed_and_resumed_is_the_same_to_the_bit(options: dict[str, Any], tmp_path: Path, death: KillAfter) -> None:
    lrtrain.train(SPEC, run_dir=tmp_path / "whole", **options)
    with pytest.raises(Killed):
        lrtrain.train(SPEC, run_dir=tmp_path / "torn", reporter=death, **options)
    # The first one died before its first checkpoint: it begins anew.
    lrtrain.train(run_dir=tmp_path / "torn", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "torn")


def test_stopped_in_an_epoch_and_resumed_is_the_same_to_the_bit(
    options: dict[str, Any], tmp_path: Path, install_plugin: Callable[..., str]
) -> None:
    source = """
@dataclass(frozen=True)
class Plugin:
    "Stops once, as the file says."
    @hookimpl
    def on_step(self, run, step):
        flag = run.directory / ".." / "stopped"
        if step.step == 40 and not flag.exists():
            flag.touch()
            return Stop("once")
"""
    observer = install_plugin("once", source)
    # 36 steps an epoch, so that the epoch has chunks after the one that asks.
    options |= {"batch_size": 2, "epochs": 2}
    (tmp_path / "stopped").touch()
    whole = lrtrain.train(SPEC, observer, run_dir=tmp_path / "whole", **options)
    assert whole.stopped is None
    (tmp_path / "stopped").unlink()
    torn = lrtrain.train(SPEC, observer, run_dir=tmp_path / "torn", **options)
    assert torn.stopped == "once: once"
    assert torn.steps % 36 != 0, "in the middle of an epoch"
    again = lrtrain.train(run_dir=tmp_path / "torn", resume=True)
    assert (again.stopped, again.steps) == ("once: once", torn.steps), "a stop holds"
    resumed = lrtrain.train(SPEC, run_dir=tmp_path / "torn", resume=True)
    assert resumed.stopped is None
    assert_same_run(tmp_path / "whole", tmp_path / "torn")


PLATEAU = """
@dataclass(frozen=True)
class Plugin:
    "Halves the learning rate after every second epoch, counted in the history."
    @hookimpl
    def on_epoch_end(self, history):
        return ScaleLearningRate(0.5) if len(history) % 2 == 0 else None
"""


def test_scale_and_history_survive(options: dict[str, Any], tmp_path: Path, install_plugin: Callable[..., str]) -> None:
    observer = install_plugin("plateau", PLATEAU)
    lrtrain.train(SPEC, observer, run_dir=tmp_path / "whole", **options)
    with pytest.raises(Killed):
        lrtrain.train(SPEC, observer, run_dir=tmp_path / "torn", reporter=KillAfter(epoch=3), **options)
    result = lrtrain.train(run_dir=tmp_path / "torn", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "torn")
    assert [epoch.epoch for epoch in result.history] == [0, 1, 2, 3, 4]


@pytest.fixture
def two_epochs(options: dict[str, Any], tmp_path: Path) -> Path:
    lrtrain.train(SPEC, run_dir=tmp_path / "run", **(options | {"epochs": 2}))
    return tmp_path / "run"


def test_a_complete_run_is_left_as_it_is(two_epochs: Path) -> None:
    logs = [(two_epochs / name).read_bytes() for name in ("steps.csv", "metrics.jsonl")]
    result = lrtrain.train(run_dir=two_epochs, resume=True)
    assert result.steps == 36
    assert [(two_epochs / name).read_bytes() for name in ("steps.csv", "metrics.jsonl")] == logs


def test_another_schedule_is_refused_and_nothing_changes(two_epochs: Path) -> None:
    files = {path: path.read_bytes() for path in two_epochs.rglob("*") if path.is_file()}
    for arguments, message in [
        ({"epochs": 3}, "36 steps in the run and 54 now"),
        ({"settings": ["peak_value=0.02"]}, r"peak_value=0\.01 in the run and peak_value=0\.02 now"),
    ]:
        with pytest.raises(ScheduleError, match=message) as error:
            lrtrain.train(run_dir=two_epochs, resume=True, **arguments)  # type: ignore[arg-type]
        assert "keep goes on with the run's own, restart begins the new one there" in str(error.value)
    with pytest.raises(ScheduleError, match="plugin sgdr in the run and constant now"):
        lrtrain.train("constant", run_dir=two_epochs, resume=True)
    assert {path: path.read_bytes() for path in two_epochs.rglob("*") if path.is_file()} == files


def rates(run_dir: Path) -> list[np.float32]:
    lines = (run_dir / "steps.csv").read_text().splitlines()[1:]
    return [np.float32(line.split(",")[2]) for line in lines]


def test_keep_holds_the_last_learning_rate(two_epochs: Path) -> None:
    before = rates(two_epochs)
    result = lrtrain.train("constant(value=1)", run_dir=two_epochs, resume=True, epochs=3, on_schedule_change="keep")
    assert result.steps == 54
    assert rates(two_epochs) == before + [before[-1]] * 18
    config = json.loads((two_epochs / "config.json").read_text())
    assert config["plugins"][0]["plugin"] == "sgdr", "the schedule that it is trained with"
    assert config["resumed"][0]["step"] == 36
    # And again, with nothing changed: the fingerprint is that of the run.
    assert lrtrain.train(run_dir=two_epochs, resume=True).steps == 54


def test_restart_begins_the_new_schedule_there(two_epochs: Path) -> None:
    before = rates(two_epochs)
    new = "linear(init_value=0.008, end_value=0, transition_begin=0, transition_steps=100%)"
    lrtrain.train(new, run_dir=two_epochs, resume=True, epochs=4, on_schedule_change="restart")
    expected = 0.008 * (1 - np.arange(36) / 36)
    assert rates(two_epochs)[:36] == before
    np.testing.assert_allclose(rates(two_epochs)[36:], expected, rtol=1e-6)
    assert lrtrain.train(run_dir=two_epochs, resume=True).steps == 72


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": 1}, "the run was made with seed=0, and seed=1 is given"),
        ({"batch_size": 8}, "batch_size=4, and batch_size=8"),
        ({"optimizer": "sgd"}, "optimizer=adam, and optimizer=sgd"),
        ({"epochs": 1}, r"the run has done 36 steps, and epochs=1 is 18: give more epochs"),
    ],
)
def test_what_a_run_must_keep(two_epochs: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(RunDirError, match=message):
        lrtrain.train(run_dir=two_epochs, resume=True, **given)


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match=r"nowhere holds no run to resume: it has no config\.json"):
        lrtrain.train(run_dir=tmp_path / "nowhere", resume=True)
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(UsageError, match="--resume needs --run-dir DIR"):
        lrtrain.train("constant", resume=True)
    (tmp_path / "config.json").write_text('{"version": 99}')
    with pytest.raises(RunDirError, match="of version 99, and this lrtrain reads version 1"):
        lrtrain.train(run_dir=tmp_path, resume=True)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunDirError, match=r"cannot be resumed: config\.json is not JSON"):
        lrtrain.train(run_dir=tmp_path, resume=True)


def test_checkpoint_names_the_fingerprint_and_the_seed(two_epochs: Path) -> None:
    saved = json.loads(next((two_epochs / "checkpoints" / "step_36" / "progress").iterdir()).read_text())
    config = json.loads((two_epochs / "config.json").read_text())
    assert saved["fingerprint"] == config["schedule"]["fingerprint"]
    assert (saved["seed"], saved["scale"], saved["step"]) == (0, 1.0, 36)


def test_restored_progress_equals_the_saved_one(two_epochs: Path) -> None:
    progress, table = Checkpoints(two_epochs / "checkpoints").restore_progress()
    assert [epoch.step for epoch in progress.history] == [18, 36]
    assert [np.float32(rate) for rate in table] == rates(two_epochs)
