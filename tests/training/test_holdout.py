"""Validation examples of a single run: hooks and the best checkpoint see them, and the test set is used once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lrtrain
from lrtrain.data.types import drawn
from lrtrain.runs import read_run
from lrtrain.workloads.workload import DataContext
from tests.lab import Dies, Killed, cli, done, refusal, same_run
from tests.training.blobs import Blobs
from tests.training.test_trained import FILE, RATE

WORKLOAD = f"{FILE}:Blobs(kind=linen)"
OWN = f"{FILE}:Blobs(own_validation=true)"


def config(run: Path) -> Any:
    return json.loads((run / "config.json").read_text())


def test_the_epochs_are_measured_on_what_is_held_out(tmp_path: Path) -> None:
    result = lrtrain.train(RATE, workload=WORKLOAD, run_dir=tmp_path / "run", holdout=60, seed=3)
    assert {epoch.measured_on for epoch in result.history} == {"validation"}
    assert config(result.run_dir)["measured_on"] == "validation"
    assert config(result.run_dir)["steps_per_epoch"] == -(-(500 - 60) // 64)
    loaded = lrtrain.load(result.run_dir, best=False)
    whole = Blobs().data(DataContext())
    held = whole.train.part(drawn(500, 60, 3))
    assert loaded.evaluate(held) == loaded.evaluate("validation") == result.history[-1].means
    test = loaded.evaluate(whole.test)
    assert (result.test_loss, result.test_accuracy) == (test["loss"], test["accuracy"])
    assert json.loads((result.run_dir / "test.json").read_text()) == {"step": result.steps, **test}
    assert read_run(result.run_dir).test == {"step": result.steps, **test}
    best = max(result.history, key=lambda epoch: epoch.accuracy)
    assert result.best is not None
    assert result.best.step == best.step


def test_a_resume_keeps_it(tmp_path: Path) -> None:
    whole = lrtrain.train(RATE, workload=WORKLOAD, run_dir=tmp_path / "whole", holdout=60)
    with pytest.raises(Killed):
        lrtrain.train(RATE, workload=WORKLOAD, run_dir=tmp_path / "cut", holdout=60, reporter=Dies(epoch=1))
    again = lrtrain.train(run_dir=tmp_path / "cut", resume=True)
    same_run(tmp_path / "cut", tmp_path / "whole")
    assert (again.test_loss, again.test_metrics) == (whole.test_loss, whole.test_metrics)
    with pytest.raises(lrtrain.UsageError, match="made with holdout=60, and holdout=70 is given"):
        lrtrain.train(run_dir=tmp_path / "cut", resume=True, holdout=70)


def test_the_validation_examples_of_a_workload_are_used(tmp_path: Path) -> None:
    result = lrtrain.train(RATE, workload=OWN, run_dir=tmp_path / "own", epochs=1)
    assert result.history[0].measured_on == "validation"
    validation = Blobs(own_validation=True).data(DataContext()).validation
    assert validation is not None
    loaded = lrtrain.load(result.run_dir)
    assert loaded.evaluate(validation) == result.history[0].means
    assert loaded.evaluate()["loss"] == result.test_loss
    none = lrtrain.train(RATE, workload=OWN, run_dir=tmp_path / "none", epochs=1, holdout=0)
    assert none.history[0].measured_on == "test"
    assert none.history[0].loss == none.test_loss
    assert config(none.run_dir)["measured_on"] == "test"
    assert not (none.run_dir / "test.json").exists()


def test_the_training_examples_are_the_same_for_a_smaller_training_set(tmp_path: Path) -> None:
    result = lrtrain.train(RATE, workload=WORKLOAD, run_dir=tmp_path / "run", holdout=60, train_size=128, epochs=1)
    assert config(result.run_dir)["steps_per_epoch"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"holdout": 500}, "holdout=500 leaves nothing of the 500 training examples"),
        ({"holdout": -1}, "holdout=-1 is refused"),
        ({"holdout": 480}, "batch_size=64 is more than the 20 training examples"),
    ],
)
def test_what_cannot_be_held_out_is_refused(tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises(lrtrain.UsageError, match=message):
        lrtrain.train(RATE, workload=WORKLOAD, run_dir=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_what_is_streamed_is_not_held_out(tiny: Path, tmp_path: Path) -> None:
    options: Any = {"dataset": "tiny", "data_dir": tiny, "batch_size": 8, "data_on_device": "never", "holdout": 8}
    with pytest.raises(lrtrain.UsageError, match="streamed from the disk, and only those in memory are held out"):
        lrtrain.train(RATE, run_dir=tmp_path / "run", **options)


def test_the_command_says_what_is_measured(tmp_path: Path) -> None:
    words = ["--plugin", RATE, "--workload", WORKLOAD, "--epochs", 2]
    said = cli(*words, "--run-dir", tmp_path / "run", "--holdout", 60)
    assert said.exit_code == 0
    assert "440 training, 60 validation and 150 test examples, in" in said.stderr
    assert "validation accuracy 0." in said.stderr
    assert "test accuracy" not in said.stderr
    assert "test accuracy 0." in said.stdout
    assert "(best validation 0." in said.stdout
    plain = cli(*words, "--run-dir", tmp_path / "plain")
    assert "500 training and 150 test examples (which stand for validation examples), in" in plain.stderr
    shown = done(cli("runs", "show", tmp_path / "run"))
    assert "Best checkpoint: that of step 14, after epoch 2 (accuracy 0." in shown
    assert "Test set, used once, after step 14: loss " in shown
    values = json.loads(done(cli("runs", "show", tmp_path / "run", "--json")))
    assert values["test"]["step"] == 14
    assert values["best_checkpoint"]["step"] == 14
    done(cli("runs", "remove", tmp_path / "run", "--yes"))
    assert not (tmp_path / "run").exists()
    assert "is refused" in refusal(cli(*words, "--holdout", -1))


STOPS = """
@dataclass(frozen=True)
class Plugin:
    '''Stops a run, and says what it saw.'''

    @hookimpl
    def on_epoch_end(self, epoch, history, run):
        return Stop(f"{epoch.measured_on} {epoch.loss}")
"""


def test_a_hook_sees_the_validation_examples(tmp_path: Path, install_plugin: Callable[..., str]) -> None:
    stops = install_plugin("stops", STOPS)
    result = lrtrain.train(RATE, stops, workload=WORKLOAD, run_dir=tmp_path / "run", holdout=60)
    assert result.stopped == f"stops: validation {result.history[0].loss}"
    assert result.test_loss != result.history[0].loss
