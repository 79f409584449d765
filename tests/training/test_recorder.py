"""A run trained alone and the same run as one of a comparison: the same lines, hook calls and moments of requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrtrain
from lrtrain.comparison.conduct import compare_plan
from lrtrain.comparison.plan import Effort, Plan
from lrtrain.comparison.rows import labelled
from lrtrain.runs import find_runs
from lrtrain.runs.logs import from_saved, line_of, to_saved
from lrtrain.runs.train_config import TrainConfig

# 36 steps an epoch, in chunks of 16, 16 and 4.
OPTIONS: dict[str, Any] = {"dataset": "tiny", "batch_size": 2, "epochs": 4, "optimizer": "adam", "shuffle": False}
WATCHES = """
import json
from pathlib import Path

@dataclass(frozen=True)
class Plugin:
    "A schedule that notes each call of its hooks, and asks for something in some."
    notes: str = ""
    scale_at: int = -1
    scale_after: int = -1
    stop_at: int = -1
    stop_after: int = -1
    raise_at: int = -1
    raise_after: int = -1

    def note(self, *values):
        with Path(self.notes).open("a") as file:
            file.write(json.dumps(values) + "\\n")

    @hookimpl
    def build_schedule(self, context):
        return lambda step: 0.002 + 0.00001 * step

    @hookimpl
    def on_step(self, run, step):
        self.note("step", step.step, step.epoch, step.learning_rate, step.loss)
        if step.step == self.raise_at:
            raise RuntimeError("no")
        if step.step == self.stop_at:
            return Stop("enough")
        return ScaleLearningRate(0.5) if step.step == self.scale_at else None

    @hookimpl
    def on_epoch_end(self, epoch, history):
        self.note("epoch", epoch.epoch, epoch.step, epoch.train_loss, epoch.test_loss, epoch.learning_rate)
        if epoch.epoch == self.raise_after:
            raise RuntimeError("no")
        if epoch.epoch == self.stop_after:
            return Stop("enough")
        # A plateau: the rate falls when the loss of training does not.
        worse = len(history) > 1 and history[-1].train_loss > 0.9 * history[-2].train_loss
        return ScaleLearningRate(0.3) if worse or epoch.epoch == self.scale_after else None
"""

MEASURES = """
import dataclasses
import json
from pathlib import Path

@dataclass(frozen=True)
class Plugin:
    "A schedule that notes the epochs that it sees."
    notes: str = ""

    @hookimpl
    def build_schedule(self, context):
        return lambda step: 0.002

    @hookimpl
    def on_epoch_end(self, epoch):
        with Path(self.notes).open("a") as file:
            file.write(json.dumps(dataclasses.asdict(epoch)) + "\\n")
"""


def lines(path: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        {name: value for name, value in line.items() if name not in {"seconds", "examples_per_second"}}
        for line in found
    ]


def both(
    tiny: Path, tmp_path: Path, install_plugin: Callable[..., str], asked: str
) -> tuple[dict[str, Any], dict[str, Any], Exception | None]:
    """Trains alone and in a comparison; returns what each has left behind, and the error that the run alone raised."""
    name = install_plugin("watches", WATCHES)
    spec = f"{name}(notes={{}}{', ' * bool(asked)}{asked})"
    error = None
    try:
        lrtrain.train(
            spec.format(tmp_path / "alone.txt"), run_dir=tmp_path / "alone", data_dir=tiny, devices=1, **OPTIONS
        )
    except lrtrain.LrtrainError as raised:
        error = raised
    config = TrainConfig(data_dir=str(tiny), **OPTIONS)
    plan = Plan(labelled([spec.format(tmp_path / "among.txt"), "constant(value=0.01)"]), config, "as-is", holdout=0)
    compare_plan(plan, directory=tmp_path / "c")
    (among,) = [run for run in (tmp_path / "c" / "runs").iterdir() if "watches" in run.name]
    left = [
        {
            "steps": [row.split(",") for row in (run / "steps.csv").read_text(encoding="utf-8").splitlines()],
            "epochs": lines(run / "metrics.jsonl"),
            "calls": [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()],
        }
        for run, notes in ((tmp_path / "alone", tmp_path / "alone.txt"), (among, tmp_path / "among.txt"))
    ]
    left[1]["outcome"] = json.loads((among / "outcome.json").read_text(encoding="utf-8"))
    return left[0], left[1], error


def assert_alike(alone: Any, among: Any) -> None:
    """Compares all but the last digits of what is computed: a program for several runs adds up in another order."""
    if isinstance(alone, dict):
        assert alone.keys() == among.keys()
        for name, value in alone.items():
            assert_alike(value, among[name])
    elif isinstance(alone, list):
        assert len(alone) == len(among)
        for one, other in zip(alone, among, strict=True):
            assert_alike(one, other)
    elif isinstance(alone, float):
        np.testing.assert_allclose(alone, among, rtol=1e-3, atol=1e-6)
    else:
        assert alone == among


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        ("", 144),
        # In the first chunk of an epoch, in its second one, in its last one.
        ("scale_at=40", 144),
        ("scale_at=60", 144),
        ("scale_at=70", 144),
        ("scale_after=1", 144),
        ("stop_at=40", 36 + 32),
        ("stop_at=52", 72),
        ("stop_at=71", 72),
        ("stop_at=143", 144),
        ("stop_after=1", 72),
        ("scale_at=3, stop_at=80, scale_after=0", 72 + 32),
    ],
)
def test_alone_and_among_others(
    tiny: Path, tmp_path: Path, install_plugin: Callable[..., str], asked: str, steps: int
) -> None:
    alone, among, error = both(tiny, tmp_path, install_plugin, asked)
    assert error is None
    outcome = among.pop("outcome")
    assert outcome["steps"] == steps
    assert len(alone["steps"]) == steps + 1
    table = [[[row[:3] for row in left["steps"][1:]], left["epochs"], left["calls"]] for left in (alone, among)]
    # Step, epoch and learning rate to the last digit.
    assert table[0][0] == table[1][0]
    assert_alike(table[0][1:], table[1][1:])
    losses = [[float(row[3]) for row in left["steps"][1:]] for left in (alone, among)]
    assert_alike(*losses)


@pytest.mark.parametrize("asked", ["raise_at=40", "raise_at=100", "raise_after=1"])
def test_a_hook_that_raises(tiny: Path, tmp_path: Path, install_plugin: Callable[..., str], asked: str) -> None:
    alone, among, error = both(tiny, tmp_path, install_plugin, asked)
    assert "plugin 'watches' raised in" in str(error)
    outcome = among.pop("outcome")
    assert outcome["state"] == "failed"
    assert str(error).startswith(outcome["reason"])
    assert [row[:3] for row in alone["steps"]] == [row[:3] for row in among["steps"]]
    assert_alike(alone["epochs"], among["epochs"])
    assert_alike(alone["calls"], among["calls"])


def test_the_requests_are_applied_two_chunks_later(
    tiny: Path, tmp_path: Path, install_plugin: Callable[..., str]
) -> None:
    """With chunks of 16 steps: what is asked for at step 3 is applied from step 32 on, and is in what was computed."""
    alone, _, _ = both(tiny, tmp_path, install_plugin, "scale_at=3")
    rates = [float(row[2]) for row in alone["steps"][1:37]]
    table = [np.float32(0.002 + 0.00001 * step) for step in range(36)]
    np.testing.assert_allclose(rates[:32], table[:32], rtol=1e-6)
    np.testing.assert_allclose(rates[32:], [0.5 * each for each in table[32:]], rtol=1e-6)


def test_a_hook_sees_what_an_epoch_was_measured_on(
    tiny: Path, tmp_path: Path, install_plugin: Callable[..., str]
) -> None:
    """The hook, the files and `lrtrain.runs` have one record; a saved history has lost only the speed."""
    name = install_plugin("measures", MEASURES)
    config = TrainConfig(data_dir=str(tiny), **{**OPTIONS, "epochs": 1})
    rows = labelled([f"{name}(notes={tmp_path / 'notes.txt'})", "constant(value=0.01)"])
    effort = Effort((1.0,), 1, 2, 1)
    compare_plan(Plan(rows, config, "fair", effort, holdout=20), directory=tmp_path / "c")
    seen = [json.loads(line) for line in (tmp_path / "notes.txt").read_text(encoding="utf-8").splitlines()]
    runs = [run for run in find_runs(tmp_path / "c") if name in str(run.name)]
    assert {epoch["measured_on"] for epoch in seen} == {"validation"}
    assert sorted(epoch["test_loss"] for epoch in seen) == sorted(run.epochs[0].loss for run in runs)
    for run in runs:
        (line,) = lines(run.path / "metrics.jsonl")
        assert (line["validation_loss"], line["validation_accuracy"]) == (run.epochs[0].loss, run.epochs[0].accuracy)
        (saved,) = to_saved(run.epochs)
        assert saved.keys() == {*line} - {"validation_loss", "validation_accuracy"} | {
            "test_loss", "test_accuracy", "seconds"
        }  # fmt: skip
        assert line_of(from_saved([saved], "validation")[0]).items() < line_of(run.epochs[0]).items()
    assert lrtrain.runs.Epoch is lrtrain.EpochInfo
