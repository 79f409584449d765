"""The observers of this repository in real training: together, killed and resumed, and with a run removed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrtrain
from lrtrain.runs.removal import remove_run
from tests.lab import Dies, Killed, metrics

# With such a threshold every epoch after the first is a bad one, so that what is due can be counted by hand.
PLUGINS = (
    "constant",
    "reduce-on-plateau(factor=0.5, patience=1, threshold=5, threshold_mode=abs)",
    "greedy(factor=0.8, patience=0, threshold=5)",
    "early-stopping(patience=4, min_delta=5)",
    "tensorboard(interval=1)",
)
STEPS = 8
# Epoch 1: greedy rises after the first epoch; 2: it lowers; 3: it lowers, and the plateau is one of two bad epochs.
SCALES = [1, 1 / 0.8, 1, 0.8 * 0.5, 0.8 * 0.8 * 0.5]


@pytest.fixture(scope="module")
def options(tiny: Path) -> dict[str, Any]:
    return {"dataset": "tiny", "data_dir": tiny, "batch_size": 72 // STEPS, "epochs": 6}


@pytest.fixture(scope="module")
def whole(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole") / "run"
    result = lrtrain.train(*PLUGINS, run_dir=directory, **options)
    assert result.stopped is not None
    assert result.stopped.startswith("early-stopping: test_loss has not improved for 4 epochs, best ")
    return directory


def rows(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "steps.csv").open() as file:
        return list(csv.DictReader(file))


def shown(run_dir: Path, tag: str) -> list[tuple[int, np.float32]]:
    """Returns what TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / "tensorboard"))
    events.Reload()
    return [(event.step, np.float32(event.value)) for event in events.Scalars(tag)]


def assert_shown(run_dir: Path) -> None:
    expected = [(int(row["step"]), np.float32(row["loss"])) for row in rows(run_dir)]
    assert shown(run_dir, "step/loss") == expected
    tests = [(epoch["step"] - 1, np.float32(epoch["test_loss"])) for epoch in metrics(run_dir)]
    assert shown(run_dir, "epoch/test_loss") == tests


def test_factors_multiply_and_the_run_ends(whole: Path) -> None:
    rates = [np.float32(row["learning_rate"]) for row in rows(whole)]
    np.testing.assert_allclose(rates, np.repeat(np.array(SCALES) * 1e-4, STEPS), rtol=1e-6)
    assert_shown(whole)


@pytest.mark.parametrize("death", [Dies(epoch=3), Dies(step=20)], ids=["between", "within"])
@pytest.mark.filterwarnings("ignore:.*was never awaited:RuntimeWarning")
def test_killed_and_resumed_is_the_same(whole: Path, tmp_path: Path, options: dict[str, Any], death: Dies) -> None:
    torn = tmp_path / "torn"
    with pytest.raises(Killed):
        lrtrain.train(*PLUGINS, run_dir=torn, reporter=death, **options)
    result = lrtrain.train(run_dir=torn, resume=True)
    assert result.stopped is not None
    assert result.stopped.startswith("early-stopping: ")
    assert (torn / "steps.csv").read_bytes() == (whole / "steps.csv").read_bytes()
    assert metrics(torn) == metrics(whole)
    assert_shown(torn)


def test_what_a_plugin_wrote_stays_when_its_run_is_removed(whole: Path) -> None:
    events = [path.read_bytes() for path in (whole / "tensorboard").iterdir()]
    assert remove_run(whole)[1] == [whole / "tensorboard"]
    assert [path.name for path in whole.iterdir()] == ["tensorboard"]
    assert [path.read_bytes() for path in (whole / "tensorboard").iterdir()] == events
