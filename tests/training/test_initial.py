"""A run that begins with the parameters of another one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrtrain
from lrtrain.errors import LrtrainError
from tests.lab import Dies, Killed, final_state
from tests.training.test_trained import FILE, RATE, leaves

WORKLOAD = f"{FILE}:Blobs(kind=linen)"


@pytest.fixture
def source(tmp_path: Path) -> lrtrain.RunResult:
    return lrtrain.train(RATE, workload=WORKLOAD, run_dir=tmp_path / "source", epochs=2, ema=0.9)


def begun(source: Path | str, run: Path, **options: Any) -> lrtrain.RunResult:
    options = {"workload": WORKLOAD, "run_dir": run, "init_from": str(source), "epochs": 1, **options}
    return lrtrain.train("constant(value=0)", **options)


def test_the_parameters_and_the_state_are_those_of_the_checkpoint(source: lrtrain.RunResult, tmp_path: Path) -> None:
    # At a learning rate of 0 they stay: with another optimizer, and with an average of their own.
    result = begun(source.run_dir, tmp_path / "run", optimizer="adam", ema=0.5)
    best = lrtrain.load(source.run_dir)
    for trained in (result.params, result.average):
        for name, leaf in leaves(trained).items():
            np.testing.assert_array_equal(leaf, leaves(best.params)[name])
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["train"]["init_from"] == str(source.run_dir / "checkpoints" / f"step_{best.step}")
    assert len(config["initial"]) == 12
    newest = source.run_dir / "checkpoints" / "step_8"
    other = begun(newest, tmp_path / "other")
    assert leaves(other.params)["Dense_0.kernel"].tobytes() != leaves(result.params)["Dense_0.kernel"].tobytes()


def test_a_resume_does_not_need_the_source(source: lrtrain.RunResult, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options: Any = {"workload": WORKLOAD, "init_from": str(source.run_dir)}
    with pytest.raises(Killed):
        lrtrain.train(RATE, run_dir=run, epochs=3, reporter=Dies(epoch=1), **options)
    whole = lrtrain.train(RATE, run_dir=tmp_path / "whole", epochs=3, **options)
    shutil.rmtree(source.run_dir)
    lrtrain.train(run_dir=run, resume=True)
    ours, theirs = (leaves(final_state(each)) for each in (run, whole.run_dir))
    assert {name: leaf.tobytes() for name, leaf in ours.items()} == {
        name: leaf.tobytes() for name, leaf in theirs.items()
    }


def test_what_does_not_fit_is_refused_by_the_first_array_that_differs(
    source: lrtrain.RunResult, tmp_path: Path
) -> None:
    with pytest.raises(LrtrainError, match=r"is of another network: params.BatchNorm_0.bias is float32\[16\] in it"):
        begun(source.run_dir, tmp_path / "run", model=f"{FILE}:Net(width=8)")
    assert not (tmp_path / "run").exists()
    with pytest.raises(LrtrainError, match="no run 'nothing' in runs"):
        begun("nothing", tmp_path / "run")
    shutil.rmtree(source.run_dir / "checkpoints")
    with pytest.raises(LrtrainError, match="has no checkpoint"):
        begun(source.run_dir, tmp_path / "run")


def test_the_range_test_begins_with_them_too(source: lrtrain.RunResult) -> None:
    found = [
        lrtrain.find_lr(RATE, workload=WORKLOAD, steps=20, **given).curve.losses[0]
        for given in ({}, {"init_from": str(source.run_dir)})
    ]
    assert found[1] < found[0] / 1.2


def test_a_comparison_has_no_such_option(source: lrtrain.RunResult) -> None:
    given: Any = {"init_from": str(source.run_dir)}
    with pytest.raises(lrtrain.UsageError, match="the runs of a comparison begin with fresh parameters"):
        lrtrain.compare(RATE, "linear", workload=WORKLOAD, **given)
