"""A run that goes on is trained on the same data, by the same code, for what was decided: or says what differs."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrtrain
from lrtrain.comparison.conduct import compare_plan
from lrtrain.comparison.merging import merge
from lrtrain.comparison.plan import Effort, Plan
from lrtrain.comparison.rows import labelled
from lrtrain.data import load_dataset
from lrtrain.data.load import find_dataset
from lrtrain.errors import RunDirError, UsageError
from lrtrain.runs.reading import find_runs
from lrtrain.runs.train_config import TrainConfig
from lrtrain.training.reporter import Begin, NullReporter
from tests.faults.conftest import Tally
from tests.lab import contents

LINE = "linear(init_value=0.02, end_value=0, transition_begin=0)"
MODEL = """
import flax.linen as nn

class Small(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(5)(x.reshape(x.shape[0], -1)))
        return nn.Dense(self.num_classes)(x)
"""


@pytest.fixture
def options(make_tiny: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    data = make_tiny(tmp_path / "data")
    return {"dataset": "tiny", "data_dir": data, "batch_size": 8, "epochs": 2, "devices": 1}


def counted(fault: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Notes in the table of faults that a test has been passed, or not."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            with Tally().expecting(fault):
                test(**fixtures)

        return run

    return decorate


class Heard(NullReporter):
    """Keeps what is said when training begins."""

    note: str | None = None

    def begin(self, begin: Begin) -> None:
        self.note = begin.note


class KilledAtBegin(NullReporter):
    """Dies after the configuration has been written, before the first step."""

    def begin(self, begin: Begin) -> None:
        raise KeyboardInterrupt


def refused(run: Path, **arguments: Any) -> str:
    """Returns the sentence with which a run is not continued; nothing in it has changed."""
    before = contents(run)
    with pytest.raises(RunDirError) as caught:
        lrtrain.train(run_dir=run, resume=True, **arguments)
    assert contents(run) == before
    return str(caught.value)


# -------------------------------------------------------------------------------------------------------------- data


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"version": "1.0.1"}, ["tiny 1.0.0", "tiny 1.0.1"]),
        ({"seeds": (3, 2)}, ["train examples of SHA-256"]),
        ({"seeds": (1, 3)}, ["test examples of SHA-256"]),
        ({"counts": (48, 40)}, ["train examples"]),
        ({"size": 7}, ["train examples", "test examples"]),
        ({"classes": 4}, ["3 classes", "4 classes"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
@counted("Other data is found by a run that goes on")
def test_other_data_is_refused(
    options: dict[str, Any],
    make_tiny: Callable[..., Path],
    tmp_path: Path,
    other: dict[str, Any],
    said: list[str],
) -> None:
    run = tmp_path / "run"
    # The other way of reading has the same digests, as the next test shows.
    lrtrain.train(LINE, run_dir=run, data_on_device="always" if "counts" in other else "never", **options)
    other_data = make_tiny(tmp_path / "other", **other)
    # Wherever it is, and put in the place of what was there.
    shutil.rmtree(options["data_dir"])
    shutil.copytree(other_data, options["data_dir"])
    sentence = refused(run, epochs=3, on_schedule_change="keep")
    assert sentence.startswith("the data is not that of the run, which was made with tiny 1.0.0")
    assert all(text in sentence for text in said), sentence
    assert sentence.endswith("put the data of the run back, or start a new run")
    shutil.rmtree(options["data_dir"])
    make_tiny(options["data_dir"])
    assert lrtrain.train(run_dir=run, resume=True, epochs=3, on_schedule_change="keep").steps == 27


def test_a_digest_is_that_of_the_examples_however_they_are_read(options: dict[str, Any], tmp_path: Path) -> None:
    source = find_dataset("tiny", data_dir=options["data_dir"])
    streamed = source.stream().identity()
    loaded = load_dataset("tiny", data_dir=options["data_dir"])
    assert streamed == loaded.identity() == source.load(10).identity() == source.stream(10).identity()
    lrtrain.train(LINE, run_dir=tmp_path / "run", **options)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"] == streamed


@counted("A run of before, without digests, finds data of another length")
def test_a_run_of_before_that_notes_no_data_is_refused_other_lengths(
    options: dict[str, Any], make_tiny: Callable[..., Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    lrtrain.train(LINE, run_dir=run, **options)
    config = json.loads((run / "config.json").read_text())
    for name in ("data", "code", "program", "past_stop"):
        config.pop(name, None)
    (run / "config.json").write_text(json.dumps(config))
    assert lrtrain.train(run_dir=run, resume=True).steps == 18
    (run / "config.json").write_text(json.dumps(config))
    fewer = make_tiny(tmp_path / "fewer", counts=(48, 40))
    sentence = refused(run, data_dir=fewer, epochs=3, on_schedule_change="keep")
    assert sentence.startswith("the run has 9 steps in an epoch, and its data gives 6 now")


# -------------------------------------------------------------------------------------------------------------- code


def trained(tmp_path: Path, options: dict[str, Any], run: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Trains in a process of its own, which imports the model afresh."""
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "lrtrain", "train", "-q", f"--run-dir={run}", *words]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*command, *([] if "--resume" in words else given)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )


@pytest.mark.slow
@counted("The model has changed when a run goes on")
def test_another_model_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "own_model.py"
    file.write_text(MODEL)
    options |= {"model": "own_model:Small"}
    begun = trained(tmp_path, options, "run", f"--plugin={LINE}")
    assert begun.returncode == 0, begun.stderr
    goes_on = ["--resume", "--epochs=3", "--on-schedule-change=keep"]
    before = contents(tmp_path / "run")
    for old, new in [("relu", "gelu"), ("Dense(5)", "Dense(6)")]:
        file.write_text(MODEL.replace(old, new))
        done = trained(tmp_path, options, "run", *goes_on)
        assert done.returncode == 2, done.stderr
        assert "the model computes something else than it did: put it back" in done.stderr
        assert contents(tmp_path / "run") == before
    # What it computes counts, not how it is written.
    file.write_text(f"# a comment\n{MODEL}")
    assert trained(tmp_path, options, "run", *goes_on).returncode == 0
    file.write_text(MODEL.replace("relu", "gelu"))
    accepted = trained(tmp_path, options, "run", "--resume", "--accept-code-change")
    assert accepted.returncode == 0, accepted.stderr


OBSERVER = """
from dataclasses import dataclass
from lrtrain import ScaleLearningRate, hookimpl

@dataclass(frozen=True)
class Halves:
    "Scales the learning rate."
    @hookimpl
    def on_epoch_end(self, history):
        return ScaleLearningRate(0.5)
"""


@counted("A plugin in a file has changed when a run goes on")
def test_another_observer_is_refused_unless_it_is_accepted(options: dict[str, Any], tmp_path: Path) -> None:
    file, run = tmp_path / "own.py", tmp_path / "run"
    file.write_text(OBSERVER)
    lrtrain.train(LINE, f"{file}:Halves", run_dir=run, **options)
    file.write_text(OBSERVER.replace("0.5", "0.25"))
    more: dict[str, Any] = {"epochs": 3, "on_schedule_change": "keep"}
    sentence = refused(run, **more)
    assert sentence.startswith("the code of plugin '")
    assert "own.py:Halves' has changed (SHA-256 " in sentence
    heard = Heard()
    assert lrtrain.train(run_dir=run, resume=True, accept_code_change=True, reporter=heard, **more).steps == 27
    assert f"{file} " in str(heard.note), "the versions that differ"
    # What has been accepted is the run's.
    assert lrtrain.train(run_dir=run, resume=True).steps == 27


@counted("Versions have changed when a run goes on")
def test_other_versions_are_said(options: dict[str, Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    lrtrain.train(LINE, run_dir=run, **options)
    config = json.loads((run / "config.json").read_text())
    now = config["versions"]["jax"]
    config["versions"]["jax"] = "0.4.1"
    (run / "config.json").write_text(json.dumps(config))
    heard = Heard()
    lrtrain.train(run_dir=run, resume=True, reporter=heard)
    assert heard.note == f"versions differ from those that it began with: jax 0.4.1 then and {now} now"


@counted("A run goes on with another number of devices")
def test_another_number_of_devices_is_said(options: dict[str, Any], tmp_path: Path) -> None:
    run, heard = tmp_path / "run", Heard()
    lrtrain.train(LINE, run_dir=run, **options)
    lrtrain.train(run_dir=run, resume=True, devices=2, reporter=heard)
    assert str(heard.note).startswith("it was trained on 1 x cpu, and goes on with 2 x cpu: ")


# ---------------------------------------------------------------------------------------------------------- decisions


def rates(run: Path) -> list[float]:
    lines = (run / "steps.csv").read_text().splitlines()[1:]
    return [float(line.split(",")[2]) for line in lines]


@pytest.mark.parametrize("change", ["keep", "restart"])
@counted("A run is ended after it was told to keep or restart its schedule")
def test_what_was_decided_holds_though_no_checkpoint_has_it_yet(
    options: dict[str, Any], tmp_path: Path, change: Any
) -> None:
    for name in ("whole", "torn"):
        lrtrain.train(LINE, run_dir=tmp_path / name, **options)
    decided = ["constant(value=0.003)"] if change == "restart" else []
    arguments: dict[str, Any] = {"resume": True, "epochs": 4, "on_schedule_change": change}
    lrtrain.train(*decided, run_dir=tmp_path / "whole", **arguments)
    with pytest.raises(KeyboardInterrupt):
        lrtrain.train(*decided, run_dir=tmp_path / "torn", reporter=KilledAtBegin(), **arguments)
    lrtrain.train(run_dir=tmp_path / "torn", resume=True)
    assert rates(tmp_path / "torn") == rates(tmp_path / "whole")
    assert (tmp_path / "torn/steps.csv").read_bytes() == (tmp_path / "whole/steps.csv").read_bytes()


@counted("A run is ended after it was told to keep or restart its schedule")
def test_keep_keeps_what_was_decided_last(options: dict[str, Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    lrtrain.train(LINE, run_dir=run, **options)
    before = rates(run)
    restart: dict[str, Any] = {"resume": True, "epochs": 4, "on_schedule_change": "restart"}
    with pytest.raises(KeyboardInterrupt):
        lrtrain.train("constant(value=0.003)", run_dir=run, reporter=KilledAtBegin(), **restart)
    lrtrain.train(run_dir=run, resume=True, epochs=5, on_schedule_change="keep")
    np.testing.assert_array_equal(np.float32(rates(run)), np.float32([*before, *[0.003] * 27]))
    assert json.loads((run / "config.json").read_text())["plugins"][0]["plugin"] == "constant"


STOPS = """
@dataclass(frozen=True)
class Plugin:
    "Stops after the first epoch."
    after: int = 1
    @hookimpl
    def on_epoch_end(self, history):
        return Stop("enough") if len(history) == self.after else None
"""


@counted("A run that a plugin has stopped is resumed")
def test_a_stop_holds_until_other_plugins_or_more_epochs_are_asked_for(
    options: dict[str, Any], tmp_path: Path, install_plugin: Callable[..., str]
) -> None:
    name, run = install_plugin("stops", STOPS), tmp_path / "run"
    lrtrain.train(LINE, name, run_dir=run, **(options | {"epochs": 3}))
    logs = (run / "steps.csv").read_bytes()
    heard = Heard()
    again = lrtrain.train(run_dir=run, resume=True, reporter=heard)
    assert (again.stopped, again.steps) == ("stops: enough", 9)
    assert (run / "steps.csv").read_bytes() == logs
    assert heard.note == "stops: enough: this has stopped the run; other plugins (--plugin) or more epochs train on"
    with pytest.raises(KeyboardInterrupt):
        lrtrain.train(run_dir=run, resume=True, settings=["stops.after=2"], reporter=KilledAtBegin())
    # That it is to go on has been decided.
    assert lrtrain.train(run_dir=run, resume=True).steps == 18


# --------------------------------------------------------------------------------------------------------------- logs


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: None,
        lambda text: "",
        lambda text: text.split("\n", 1)[1],
        lambda text: "junk\n" + text,
        lambda text: text.replace("train_loss", "train_lost", 1),
        lambda text: text + text.splitlines()[0] + "\n",
        lambda text: text + '{"epoch": 1}\n',
    ],
    ids=["removed", "emptied", "a line less", "junk before", "a name damaged", "a line twice", "junk behind"],
)
@counted("Lines of metrics.jsonl are lost or damaged")
def test_metrics_that_were_lost_come_back_from_the_checkpoint(
    options: dict[str, Any], tmp_path: Path, damage: Callable[[str], str | None]
) -> None:
    run = tmp_path / "run"
    lrtrain.train(LINE, run_dir=run, **options)
    metrics = run / "metrics.jsonl"
    whole = metrics.read_text()
    damaged = damage(whole)
    metrics.unlink() if damaged is None else metrics.write_text(damaged)
    heard = Heard()
    lrtrain.train(run_dir=run, resume=True, epochs=3, on_schedule_change="keep", reporter=heard)

    def without_speed(text: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in text.splitlines()]
        return [{name: value for name, value in line.items() if name != "examples_per_second"} for line in lines]

    assert without_speed(metrics.read_text())[:2] == without_speed(whole)
    (read,) = find_runs(run)
    assert (read.state, len(read.epochs)) == ("finished", 3)
    lost = sum(line not in (damaged or "") for line in whole.splitlines())
    expected = f"metrics.jsonl has been damaged: {lost} of its lines are restored from the checkpoint"
    assert heard.note == (expected if lost else None)


@pytest.mark.parametrize("junk", ["3,0,0.02,1.5\n", "garbage\n", "12\n", "1,0,0.02", "\x00\xff\n", "-1,0,0.02,1.5\n"])
@counted("Junk is put behind the steps")
def test_junk_behind_the_steps_goes(options: dict[str, Any], tmp_path: Path, junk: str) -> None:
    runs = [tmp_path / "whole", tmp_path / "torn"]
    for run in runs:
        lrtrain.train(LINE, run_dir=run, **options)
    with (runs[1] / "steps.csv").open("a", encoding="latin-1") as file:
        file.write(junk)
    for run in runs:
        lrtrain.train(run_dir=run, resume=True, epochs=3, on_schedule_change="keep")
    assert (runs[0] / "steps.csv").read_bytes() == (runs[1] / "steps.csv").read_bytes()


# -------------------------------------------------------------------------------------------------------- comparisons

SCHEDULE = """
from dataclasses import dataclass
from lrtrain import hookimpl

@dataclass(frozen=True)
class Flat:
    "A constant."
    @hookimpl
    def build_schedule(self, context):
        return lambda step: 0.01
"""


class CutOff:
    """Ends a comparison with its first run that is done."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return self._finished if name == "finished" else lambda *_: None

    def _finished(self, *_: object) -> None:
        raise KeyboardInterrupt


@pytest.fixture
def plan(options: dict[str, Any], tmp_path: Path) -> Plan:
    file = tmp_path / "flat.py"
    file.write_text(SCHEDULE)
    config = TrainConfig(**(options | {"epochs": 1, "devices": 1}))
    return Plan(labelled([f"{file}:Flat", "constant(value=0.02)"]), config, "fair", Effort((1.0,), 1, 2, 1), 8)


@counted("A comparison goes on with other data or code")
def test_a_comparison_goes_on_with_its_own_data_and_code(
    plan: Plan, options: dict[str, Any], make_tiny: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        compare_plan(plan, directory=tmp_path / "c", reporter=CutOff())  # type: ignore[arg-type]
    before = contents(tmp_path / "c")
    (tmp_path / "flat.py").write_text(SCHEDULE.replace("0.01", "0.03"))
    with pytest.raises(RunDirError, match="the learning rates of 'flat' are no longer those of the comparison"):
        compare_plan(None, directory=tmp_path / "c", resume=True)
    (tmp_path / "flat.py").write_text(SCHEDULE)
    whole = tmp_path / "whole"
    shutil.copytree(options["data_dir"], whole)
    shutil.rmtree(options["data_dir"])
    make_tiny(options["data_dir"], seeds=(1, 5))
    with pytest.raises(RunDirError, match="the data is not that of the comparison, which was made with tiny"):
        compare_plan(None, directory=tmp_path / "c", resume=True)
    assert contents(tmp_path / "c").keys() - {str(tmp_path / "c/.lock")} == before.keys() - {str(tmp_path / "c/.lock")}
    shutil.rmtree(options["data_dir"])
    shutil.copytree(whole, options["data_dir"])
    assert len(compare_plan(None, directory=tmp_path / "c", resume=True).outcomes) == 6


@counted("Comparisons of other data, code or versions are merged")
def test_comparisons_of_other_data_code_or_versions_are_not_merged(plan: Plan, tmp_path: Path) -> None:
    first = compare_plan(plan, directory=tmp_path / "first").directory
    shutil.copytree(first, tmp_path / "second")
    file = tmp_path / "second" / "comparison.json"
    stored = json.loads(file.read_text())
    for part, key, said in [
        ("versions", "jax", "the version of jax is "),
        ("data", "test", "the test of the data is "),
        ("schedules", "flat", "the digest of the learning rates of 'flat' is "),
    ]:
        values = {**stored, "about": {**stored["about"], part: {**stored["about"][part], key: "other"}}}
        file.write_text(json.dumps(values))
        with pytest.raises(UsageError, match=said):
            merge([first, tmp_path / "second"], tmp_path / "merged")
        assert not (tmp_path / "merged").exists()
    file.write_text(json.dumps(stored))
    assert len(merge([first, tmp_path / "second"], tmp_path / "merged").outcomes()) == 6
