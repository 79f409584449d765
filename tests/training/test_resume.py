"""A run that was stopped and resumed equals one that was not, to the bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrtrain
from lrtrain.errors import RunDirError, ScheduleError, UsageError
from tests.lab import SPEC, Dies, Killed, contents, last_position, same_run


@pytest.fixture
def options(tiny: Path) -> dict[str, Any]:
    return {"dataset": "tiny", "data_dir": tiny, "batch_size": 4, "epochs": 5, "optimizer": "adam"}


@pytest.mark.parametrize("death", [Dies(epoch=0), Dies(epoch=2), Dies(step=60)], ids=["0", "2", "mid"])
@pytest.mark.filterwarnings("ignore:.*was never awaited:RuntimeWarning")
def test_killed_and_resumed_is_the_same_to_the_bit(options: dict[str, Any], tmp_path: Path, death: Dies) -> None:
    lrtrain.train(SPEC, run_dir=tmp_path / "whole", **options)
    with pytest.raises(Killed):
        lrtrain.train(SPEC, run_dir=tmp_path / "torn", reporter=death, **options)
    # The first one died before its first checkpoint: it begins again.
    lrtrain.train(run_dir=tmp_path / "torn", resume=True)
    same_run(tmp_path / "whole", tmp_path / "torn")


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
    same_run(tmp_path / "whole", tmp_path / "torn")


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
        lrtrain.train(SPEC, observer, run_dir=tmp_path / "torn", reporter=Dies(epoch=3), **options)
    result = lrtrain.train(run_dir=tmp_path / "torn", resume=True)
    same_run(tmp_path / "whole", tmp_path / "torn")
    assert [epoch.epoch for epoch in result.history] == [0, 1, 2, 3, 4]


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    lrtrain.train(SPEC, run_dir=run, dataset="tiny", data_dir=tiny, batch_size=4, epochs=2, optimizer="adam")
    return run


@pytest.fixture
def two_epochs(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_a_complete_run_is_left_as_it_is(two_epochs: Path) -> None:
    logs = [(two_epochs / name).read_bytes() for name in ("steps.csv", "metrics.jsonl")]
    result = lrtrain.train(run_dir=two_epochs, resume=True)
    assert result.steps == 36
    assert [(two_epochs / name).read_bytes() for name in ("steps.csv", "metrics.jsonl")] == logs


def test_another_schedule_is_refused_and_nothing_changes(two_epochs: Path) -> None:
    files = contents(two_epochs)
    for arguments, message in [
        ({"epochs": 3}, "36 steps in the run and 54 now"),
        ({"settings": ["peak_value=0.02"]}, r"peak_value=0\.01 in the run and peak_value=0\.02 now"),
    ]:
        with pytest.raises(ScheduleError, match=message) as error:
            lrtrain.train(run_dir=two_epochs, resume=True, **arguments)  # type: ignore[arg-type]
        assert "keep goes on with the run's own, restart begins the new one there" in str(error.value)
    with pytest.raises(ScheduleError, match="plugin sgdr in the run and constant now"):
        lrtrain.train("constant", run_dir=two_epochs, resume=True)
    assert contents(two_epochs) == files


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
    with pytest.raises(RunDirError, match=r"cannot be read \(File name too long\), so it cannot be resumed"):
        lrtrain.train(resume=True, run_dir=tmp_path / ("a" * 300))
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
    position, table = last_position(two_epochs)
    assert [epoch.step for epoch in position.history] == [18, 36]
    assert [np.float32(rate) for rate in table] == rates(two_epochs)
