"""Whether a run has a device for each core or one with all of them is measured once for a network, and kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

import lrtrain
from lrtrain.data import Split
from lrtrain.engine.engine import Engine
from lrtrain.engine.optimizers import optimizer
from lrtrain.training import fastest_devices, kept_choice
from tests.lab import SPEC, Dies, Killed, same_run


class Dense(nn.Module):
    norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.Dense(8)(x.reshape(x.shape[0], -1))
        if self.norm:
            x = nn.BatchNorm(use_running_average=not train)(x)
        return nn.Dense(3)(nn.relu(x))


class Measurements:
    """Takes the place of the measurement: says that one device takes so much of the time, and counts how often."""

    def __init__(self, time_of_one: float) -> None:
        self.seconds = [1.0, time_of_one]
        self.number = 0

    def __call__(self, engines: list[Engine], examples: int) -> list[float]:
        assert (len(engines), examples) == (2, 72)
        self.number += 1
        return self.seconds


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def with_time(time_of_one: float) -> Measurements:
        measurements = Measurements(time_of_one)
        monkeypatch.setattr(fastest_devices, "step_seconds", measurements)
        monkeypatch.setattr(fastest_devices, "_FEWEST_STEPS", 18)
        monkeypatch.setattr(kept_choice, "cache_dir", lambda: tmp_path / "cache")
        return measurements

    return with_time


@pytest.fixture
def options(tiny: Path) -> dict[str, Any]:
    # 32 examples, for each device is to have 16.
    return {"dataset": "tiny", "data_dir": tiny, "batch_size": 32, "epochs": 6, "model": Dense()}


def devices_of(run: Path) -> str:
    device = json.loads((run / "config.json").read_text(encoding="utf-8"))["device"]
    return f"{device['count']} x {device['kind']}"


@pytest.mark.parametrize(("time_of_one", "devices"), [(0.8, "1 x cpu"), (0.95, "2 x cpu"), (1.5, "2 x cpu")])
def test_one_device_where_that_is_clearly_faster(
    measured: Any, options: dict[str, Any], tmp_path: Path, time_of_one: float, devices: str
) -> None:
    measurements = measured(time_of_one)
    for name in ("first", "second"):
        lrtrain.train(SPEC, run_dir=tmp_path / name, **options)
        assert devices_of(tmp_path / name) == devices
    assert measurements.number == 1, "the choice is kept"
    lrtrain.train(SPEC, run_dir=tmp_path / "other", **options | {"optimizer": "adam"})
    assert measurements.number == 2, "another optimizer is another step"


def test_a_resumed_run_keeps_its_devices(measured: Any, options: dict[str, Any], tmp_path: Path) -> None:
    measured(0.5)
    lrtrain.train(SPEC, run_dir=tmp_path / "whole", **options)
    with pytest.raises(Killed):
        lrtrain.train(SPEC, run_dir=tmp_path / "torn", reporter=Dies(epoch=2), **options)
    # What was kept is gone, and would be measured otherwise now.
    measurements = measured(2.0)
    for file in (tmp_path / "cache").rglob("*.json"):
        file.unlink()
    lrtrain.train(run_dir=tmp_path / "torn", resume=True, model=Dense())
    assert (devices_of(tmp_path / "torn"), measurements.number) == ("1 x cpu", 0)
    same_run(tmp_path / "whole", tmp_path / "torn")


def test_a_run_of_a_gpu_goes_on_on_every_core(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Killed):
        lrtrain.train(SPEC, run_dir=tmp_path, reporter=Dies(epoch=2), **options)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["device"] = {"kind": "NVIDIA H200", "count": 1}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    lrtrain.train(run_dir=tmp_path, resume=True, model=Dense())
    assert devices_of(tmp_path) == "2 x cpu"


@pytest.mark.parametrize(
    "changed",
    [{"devices": 2}, {"epochs": 5}, {"model": Dense(norm=True)}, {"model": None}],
    ids=["the user has chosen", "too short", "its results would be others", "the default network"],
)
def test_not_measured(measured: Any, options: dict[str, Any], tmp_path: Path, changed: dict[str, Any]) -> None:
    measurements = measured(0.1)
    lrtrain.train(SPEC, run_dir=tmp_path / "run", **options | changed)
    assert (devices_of(tmp_path / "run"), measurements.number) == ("2 x cpu", 0)


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"devices": "no"}', '{"devices": 0}', '{"devices": Infinity}', '{"devices": 7}']
)
def test_a_damaged_note_is_measured_again(measured: Any, options: dict[str, Any], tmp_path: Path, content: str) -> None:
    measurements = measured(0.5)
    lrtrain.train(SPEC, run_dir=tmp_path / "first", **options)
    (note,) = (tmp_path / "cache").rglob("*.json")
    note.write_text(content, encoding="utf-8")
    lrtrain.train(SPEC, run_dir=tmp_path / "second", **options)
    assert (measurements.number, devices_of(tmp_path / "second")) == (2, "1 x cpu")


def test_the_measurement_changes_nothing_and_takes_each_engine_in_turn() -> None:
    rng = np.random.default_rng(0)
    split = Split(rng.random((40, 6, 6, 1), np.float32), rng.integers(0, 3, 40).astype(np.int32))
    engines = [
        Engine(Dense(), optimizer("sgd"), split, split, batch_size=32, devices=jax.devices()[:number])
        for number in (2, 1)
    ]
    seconds = fastest_devices.step_seconds(engines, len(split))
    assert len(seconds) == 2
    assert all(0 < each < 10 for each in seconds)
