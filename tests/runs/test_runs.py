"""The runs on disk: finding and reading them, whatever is in their files, and what `lrtrain runs` makes of them."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import hypothesis
import hypothesis.strategies as st
import pytest
from click.testing import CliRunner, Result

import lrtrain
from lrtrain.cli import main
from lrtrain.engine.optimizers import OPTIMIZERS, canonical
from lrtrain.errors import RunDirError, TrainingError
from lrtrain.plugins.context import EpochInfo
from lrtrain.plugins.discovery import DEFAULT_WORKLOAD
from lrtrain.plugins.loading import activate
from lrtrain.runs.command import reproduce
from lrtrain.runs.lock import being_written, writing
from lrtrain.runs.reading import Head, Run, find_runs, read_run
from lrtrain.runs.train_config import DATA_ON_DEVICE, LOSS_REDUCTIONS, PRECISIONS, TrainConfig
from lrtrain.training.reporter import NullReporter
from tests import lab, markdown
from tests.lab import cli, completed, refusal
from tests.markdown import Block, executed

Train = Callable[..., lrtrain.RunResult]
Install = Callable[..., str]

SGDR = "sgdr(cycles=2)"
DOCS = lab.ROOT / "docs" / "reference" / "runs.md"
ESCAPE = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202e\n"


class StopAfter(NullReporter):
    """Interrupts a run as a user does, after some epochs."""

    def __init__(self, epochs: int, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._epochs, self._meanwhile = epochs, meanwhile

    def epoch_ended(self, epoch: EpochInfo, examples_per_second: float) -> None:
        if epoch.epoch + 1 == self._epochs:
            self._meanwhile()
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def train(tiny: Path) -> Train:
    def run(*plugins: str, **options: Any) -> lrtrain.RunResult:
        new = {"dataset": "tiny", "data_dir": tiny, "batch_size": 16, "epochs": 3, "checkpoint_every": "1ep"}
        return lrtrain.train(*plugins, **((new if not options.get("resume") else {}) | options))

    return run


@pytest.fixture(scope="module")
def trained(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a directory with a finished run, an interrupted one, and one of another configuration."""
    runs = tmp_path_factory.mktemp("trained") / "runs"
    train(SGDR, run_dir=runs / "sgdr-1")
    train("linear(init_value=0.01)", run_dir=runs / "linear-1", epochs=2, optimizer="adam", seed=7, shuffle=False)
    with pytest.raises(KeyboardInterrupt):
        train(SGDR, run_dir=runs / "sgdr-2", reporter=StopAfter(2))
    return runs


@pytest.fixture
def runs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a copy of the trained runs, in ``runs`` of an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def call(*arguments: str, **options: Any) -> Result:
    return cli("runs", *arguments, **options)


def done(*arguments: str) -> str:
    return lab.done(call(*arguments))


def refused(*arguments: str, code: int = 2) -> str:
    return refusal(call(*arguments), code)


def change(path: Path, **values: Any) -> None:
    """Changes keys of a JSON file; a key like ``train__epochs`` lies deeper."""
    content = json.loads(path.read_text())
    for key, value in values.items():
        *outer, last = key.split("__")
        table = content
        for each in outer:
            table = table[each]
        table[last] = value
    path.write_text(json.dumps(content))


# ------------------------------------------------------------------------------------------------------ what a run says


def test_a_finished_run(runs: Path) -> None:
    run = read_run(runs / "sgdr-1")
    assert (run.name, run.state, run.reason, run.steps) == ("sgdr-1", "finished", None, 15)
    assert run.head is not None
    assert run.head.schedule.name == "sgdr"
    assert run.head.train == TrainConfig(
        epochs=3, batch_size=16, dataset="tiny", data_dir=Path(json.loads(
            (runs / "sgdr-1" / "config.json").read_text())["train"]["data_dir"]),
    )  # fmt: skip
    lines = [json.loads(line) for line in (runs / "sgdr-1" / "metrics.jsonl").read_text().splitlines()]
    assert [epoch.step for epoch in run.epochs] == [5, 10, 15]
    assert [epoch.accuracy for epoch in run.epochs] == [line["test_accuracy"] for line in lines]
    assert [epoch.loss for epoch in run.epochs] == [line["test_loss"] for line in lines]
    assert {epoch.measured_on for epoch in run.epochs} == {"test"}
    assert run.seconds == pytest.approx(sum(line["seconds"] for line in lines))
    rows = (runs / "sgdr-1" / "steps.csv").read_text().splitlines()[1:]
    assert run.peak_learning_rate == max(float(row.split(",")[2]) for row in rows)
    assert run.size == sum(path.stat().st_size for path in (runs / "sgdr-1").rglob("*") if path.is_file())


def test_the_beginning_of_a_run_is_noted(runs: Path) -> None:
    started = datetime.datetime.fromisoformat(json.loads((runs / "sgdr-1" / "config.json").read_text())["started"])
    assert datetime.timedelta(0) <= datetime.datetime.now().astimezone() - started < datetime.timedelta(hours=1)
    head = read_run(runs / "sgdr-1").head
    assert head is not None
    assert head.started == started


def test_an_older_run_notes_no_beginning(runs: Path) -> None:
    config = runs / "sgdr-1" / "config.json"
    values = json.loads(config.read_text())
    del values["started"]
    config.write_text(json.dumps(values))
    os.utime(config, (1e9, 1e9))
    head = read_run(runs / "sgdr-1").head
    assert head is not None
    assert head.started is not None
    assert head.started.timestamp() == 1e9, "it was written when the run began"
    config.write_text(json.dumps(values | {"resumed": [{"step": 5, "before": {}}]}))
    head = read_run(runs / "sgdr-1").head
    assert head is not None
    assert (head.started, head.resumed) == (None, (5,))


def test_an_interrupted_run_and_its_end(runs: Path, train: Train) -> None:
    before = read_run(runs / "sgdr-2")
    # The user came between the epoch's line and its checkpoint.
    assert (before.state, before.reason, len(before.epochs)) == ("interrupted", "can be resumed at step 5", 2)
    assert before.head is not None
    train(run_dir=runs / "sgdr-2", resume=True)
    after = read_run(runs / "sgdr-2")
    assert (after.state, after.reason) == ("finished", None)
    assert after.head is not None
    assert after.head.resumed == (5,)
    assert after.head.started == before.head.started
    whole = read_run(runs / "sgdr-1")
    assert [epoch.loss for epoch in after.epochs] == [epoch.loss for epoch in whole.epochs]


def test_a_run_without_its_last_checkpoint_is_not_finished(runs: Path) -> None:
    shutil.rmtree(runs / "sgdr-1" / "checkpoints" / "step_15")
    assert read_run(runs / "sgdr-1").reason == "can be resumed at step 10"
    shutil.rmtree(runs / "sgdr-1" / "checkpoints")
    assert read_run(runs / "sgdr-1").state == "finished", "someone has made room"
    shutil.rmtree(runs / "sgdr-2" / "checkpoints")
    assert read_run(runs / "sgdr-2").reason == "can be resumed from its beginning"


STOPS = """
@dataclass(frozen=True)
class Plugin:
    @hookimpl
    def on_epoch_end(self, epoch):
        return Stop("good\\nenough") if epoch.epoch == 1 else None
"""


def test_a_run_stopped_by_a_plugin(train: Train, install_plugin: Install, tmp_path: Path) -> None:
    install_plugin("watch", STOPS)
    train(SGDR, "watch", run_dir=tmp_path / "stopped")
    run = read_run(tmp_path / "stopped")
    assert (run.state, run.reason, len(run.epochs)) == ("stopped", "watch: good\\nenough", 2)
    train(SGDR, "watch", run_dir=tmp_path / "at-its-end", epochs=2)
    assert read_run(tmp_path / "at-its-end").state == "finished"


def test_a_run_that_diverged(train: Train, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the loss is"):
        train("constant(value=1e30)", run_dir=tmp_path / "diverged")
    run = read_run(tmp_path / "diverged")
    assert run.state == "diverged"
    assert re.fullmatch(rf"the loss is (nan|inf) at step {run.steps - 1}", run.reason or "")


def test_a_run_that_is_being_written(train: Train, tmp_path: Path) -> None:
    said: list[Any] = []

    def look() -> None:
        said.append(read_run(tmp_path / "run").state)
        command = [sys.executable, "-m", "lrtrain", "runs", "remove", "--yes", str(tmp_path / "run")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        said.extend([result.returncode, result.stderr])
        with pytest.raises(RunDirError, match="another process is writing to"):
            train(run_dir=tmp_path / "run", resume=True)

    with pytest.raises(KeyboardInterrupt):
        train(SGDR, run_dir=tmp_path / "run", reporter=StopAfter(2, look))
    assert said == ["running", 2, f"Error: {tmp_path / 'run'} is not removed: a process is writing to it\n"]
    assert read_run(tmp_path / "run").state == "interrupted", "the lock is gone"
    train(run_dir=tmp_path / "run", resume=True)
    assert read_run(tmp_path / "run").state == "finished"


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from lrtrain.runs.lock import writing
with writing(Path({str(tmp_path)!r})):
    print("locked", flush=True)
    input()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        assert being_written(tmp_path)
        holder.kill()
    assert not being_written(tmp_path)
    with writing(tmp_path):
        assert being_written(tmp_path)
    assert not being_written(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_looking_at_a_run_is_not_writing_to_it(runs: Path) -> None:
    import fcntl

    # As it is while another process lists the runs.
    looker = os.open(runs / "sgdr-1", os.O_RDONLY)
    fcntl.flock(looker, fcntl.LOCK_SH)
    assert read_run(runs / "sgdr-1").state == "finished"
    threading.Timer(0.1, os.close, [looker]).start()
    with writing(runs / "sgdr-1"):
        assert read_run(runs / "sgdr-1").state == "running"


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["as-is", "fair"])
def test_the_runs_of_a_comparison(tiny: Path, tmp_path: Path, protocol: Any) -> None:
    from lrtrain.comparison.conduct import compare_plan
    from lrtrain.comparison.plan import Effort, Plan
    from lrtrain.comparison.rows import labelled

    config = TrainConfig(epochs=2, batch_size=16, dataset="tiny", data_dir=tiny)
    holdout = 16 if protocol == "fair" else 0
    rows = labelled([SGDR, "constant(value=1e30)"])
    comparison = compare_plan(
        Plan(rows, config, protocol, Effort((1.0,), 1, 1, 2), holdout), directory=tmp_path / "runs" / "compare-1"
    )
    found = find_runs(tmp_path / "runs")
    assert len(found) == len(comparison.outcomes)
    assert all(re.fullmatch(r"compare-1/runs/[a-z0-9+.-]+", run.name) for run in found)
    by_plugin = {run.head.schedule.name: run for run in found if run.head}
    assert (by_plugin["sgdr"].state, by_plugin["constant"].state) == ("finished", "diverged")
    assert {epoch.measured_on for epoch in by_plugin["sgdr"].epochs} == {"validation" if holdout else "test"}
    assert "it is a run of a comparison" in (reproduce(by_plugin["sgdr"]).obstacle or "")
    (tmp_path / "runs" / found[0].name / "outcome.json").unlink()
    assert call("list", "--dir", str(tmp_path / "runs")).stdout == (
        f"{len(found)} runs of comparisons not shown: --all lists them too\n"
    )
    assert json.loads(call("list", "--json", "--dir", str(tmp_path / "runs")).stdout) == []
    shown = call("list", "--all", "--dir", str(tmp_path / "runs")).stdout
    assert (" (val)" in shown) == bool(holdout)
    assert call("list", "--dir", str(tmp_path / "runs" / "compare-1")).stdout.count("compare-1/") == 0
    assert len(call("list", "--dir", str(tmp_path / "runs" / "compare-1")).stdout.splitlines()) == len(found) + 1
    assert call("remove", "--yes", str(tmp_path / "runs" / by_plugin["sgdr"].name)).exit_code == 0
    assert len(find_runs(tmp_path / "runs")) == len(found) - 1


def test_a_run_of_a_comparison_whose_plugin_failed(tmp_path: Path) -> None:
    (tmp_path / "c" / "runs" / "r").mkdir(parents=True)
    outcome = {"trial": {"label": "x"}, "state": "failed", "reason": "plugin 'x'\nraised"}
    (tmp_path / "c" / "runs" / "r" / "outcome.json").write_text(json.dumps(outcome))
    (run,) = find_runs(tmp_path)
    assert (run.name, run.state, run.reason, run.head) == ("c/runs/r", "failed", "plugin 'x'\\nraised", None)


# ------------------------------------------------------------------------------------------------------- what is no run


def test_what_is_no_run_is_passed_over(runs: Path) -> None:
    (runs / "model").mkdir()
    (runs / "model" / "config.json").write_text('{"version": 1, "model_type": "bert"}')
    (runs / "notes.txt").write_text("mine")
    (runs / "torn").mkdir()
    (runs / "torn" / "config.json").write_text("{")
    (runs / "link").symlink_to(runs / "sgdr-1")
    (runs / "round").symlink_to(runs)
    (runs / "other" / "deep").mkdir(parents=True)
    shutil.copytree(runs / "sgdr-1", runs / "other" / "deep" / "nested")
    shutil.copytree(runs / "sgdr-1", runs / "other" / "deep" / "too" / "deep")
    assert [run.name for run in find_runs(runs)] == ["linear-1", "other/deep/nested", "sgdr-1", "sgdr-2"]
    assert [run.name for run in find_runs(runs / "sgdr-1")] == ["sgdr-1"], "a run itself"
    assert find_runs(runs / "nowhere") == []
    for name in ("model", "torn", "nowhere", "notes.txt"):
        with pytest.raises(RunDirError, match="holds no run"):
            read_run(runs / name)


# --------------------------------------------------------------------------------------------------------- damaged ones


def cut(name: str) -> Callable[[Path], object]:
    """Cuts a file in the middle of its last line."""
    return lambda run: (run / name).write_text((run / name).read_text()[:-9])


def line(name: str, number: int, text: str) -> Callable[[Path], object]:
    def replace(run: Path) -> None:
        lines = (run / name).read_text().splitlines()
        lines[number - 1] = text
        (run / name).write_text("\n".join(lines) + "\n")

    return replace


def config(**values: Any) -> Callable[[Path], object]:
    return lambda run: change(run / "config.json", **values)


def metric(**values: Any) -> Callable[[Path], object]:
    def replace(run: Path) -> None:
        lines = (run / "metrics.jsonl").read_text().splitlines()
        lines[1] = json.dumps(json.loads(lines[1]) | values)
        (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")

    return replace


def to_directory(name: str) -> Callable[[Path], object]:
    return lambda run: [(run / name).unlink(), (run / name).mkdir()]


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda run: (run / "config.json").unlink(), "config.json is missing"),
    "torn config": (cut("config.json"), "config.json is not JSON"),
    "empty config": (lambda run: (run / "config.json").write_text(""), "config.json is not JSON"),
    "deep config": (lambda run: (run / "config.json").write_text("[" * 100_000), "config.json is not JSON"),
    "a list": (lambda run: (run / "config.json").write_text("[]"), "config.json is not that of a run"),
    "no text": (lambda run: (run / "config.json").write_bytes(b"\xff\xfe"), "config.json is not text"),
    "a directory": (to_directory("config.json"), "config.json is not a file"),
    "a pipe": (
        lambda run: [(run / "config.json").unlink(), os.mkfifo(run / "config.json")],
        "config.json is not a file",
    ),
    "version": (config(version=99), "config.json is of version 99, and this lrtrain reads version 1..."),
    "no train": (config(train=None), "config.json: train is refused: expected a table, got null"),
    "epochs": (config(train__epochs="3"), "config.json: train.epochs is refused: expected a whole number, got a text"),
    "optimizer": (config(train__optimizer=["a"]), "config.json: train.optimizer is refused: expected a text..."),
    "data_dir": (config(train__data_dir=5), "config.json: train.data_dir is refused: expected a path"),
    "shuffle": (config(train__shuffle="no"), "config.json: train.shuffle is refused: expected true or..."),
    "plugins": (config(plugins={}), "config.json: plugins is refused: expected a list, got a table"),
    "no plugin": (config(plugins=[]), "config.json: schedule.plugin is 0, and there are 0 plugins"),
    "plugin name": (config(plugins=[{"plugin": "a b"}]), "config.json: 'a b' is not the name of a plugin..."),
    "schedule": (config(schedule={"plugin": 0}), "config.json lacks schedule.start"),
    "schedule plugin": (config(schedule__plugin=-1), "config.json: schedule.plugin is refused: expected a..."),
    "started": (config(started="yesterday"), "config.json: started is refused: 'yesterday' is no time of day"),
    "versions": (config(versions=[]), "config.json: versions is refused: expected a table, got a list"),
    "version number": (config(versions={"jax": 1}), "config.json: versions[...] is refused: expected a text..."),
    "resumed": (config(resumed=[1]), "config.json: resumed[0] is refused: expected a table, got a whole number"),
    "device": (config(device={}), "config.json lacks device.kind"),
    "no metrics": (lambda run: (run / "metrics.jsonl").unlink(), "metrics.jsonl is missing"),
    "metrics line": (line("metrics.jsonl", 2, '{"epoch": 1'), "metrics.jsonl, line 2 is not JSON"),
    "metrics list": (line("metrics.jsonl", 2, "[]"), "metrics.jsonl, line 2 is refused: expected a table, got a list"),
    "metrics keys": (line("metrics.jsonl", 2, '{"epoch": 1}'), "metrics.jsonl, line 2 lacks step"),
    "metrics text": (metric(test_loss="low"), "metrics.jsonl, line 2: test_loss is refused: expected a number..."),
    "metrics null": (metric(seconds=None), "metrics.jsonl, line 2: seconds is refused: expected a number, got null"),
    "metrics bool": (metric(step=True), "metrics.jsonl, line 2: step is refused: expected a whole number..."),
    "metrics order": (metric(epoch=5), "metrics.jsonl, line 2 is of epoch 6"),
    "too far": (config(total_steps=12), "metrics.jsonl has 15 steps, and the run has 12"),
    "no steps": (lambda run: (run / "steps.csv").unlink(), "steps.csv is missing"),
    "steps line": (line("steps.csv", 3, "1,0,high,2.0"), "steps.csv, line 3 is no step"),
    "steps short": (line("steps.csv", 4, "2,0"), "steps.csv, line 4 is no step"),
    "steps odd": (
        lambda run: (line("steps.csv", 2, "0.0,0,inf,2.0")(run), line("steps.csv", 5, "x")(run)),
        "steps.csv, line 5 is no step",
    ),
    "steps last": (line("steps.csv", 16, "14,2,0.1,"), "steps.csv, line 16 is no step"),
    "outcome": (lambda run: (run / "outcome.json").write_text("{"), "outcome.json is not JSON"),
    "checkpoint": (
        lambda run: (run / "checkpoints/step_15/progress/metadata").write_text("{"),
        "metadata is not JSON",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_run_is_a_row_that_says_so(runs: Path, name: str) -> None:
    damage, reason = DAMAGES[name]
    damage(runs / "sgdr-1")
    run = read_run(runs / "sgdr-1")
    assert run.state == "damaged"
    beginning, *rest = reason.split("...")
    assert (run.reason or "").startswith(beginning) if rest else run.reason == reason
    assert [each.name for each in find_runs(runs)] == ["linear-1", "sgdr-1", "sgdr-2"]
    assert "damaged: " in done("list")
    assert (run.reason or "") in done("show", "sgdr-1")
    assert json.loads(done("show", "sgdr-1", "--json"))["reason"] == run.reason
    done("compare", "sgdr-1", "sgdr-2", "linear-1", "--epochs")


def test_the_epochs_before_the_damage_are_kept(runs: Path) -> None:
    line("metrics.jsonl", 3, "?")(runs / "sgdr-1")
    assert [epoch.step for epoch in read_run(runs / "sgdr-1").epochs] == [5, 10]


@pytest.mark.parametrize("name", ["metrics.jsonl", "steps.csv"])
def test_a_torn_last_line_is_none(runs: Path, name: str) -> None:
    cut(name)(runs / "sgdr-1")
    run = read_run(runs / "sgdr-1")
    assert run.state == ("interrupted" if name == "metrics.jsonl" else "finished")
    assert (len(run.epochs), run.steps) == ((2, 15) if name == "metrics.jsonl" else (3, 14))


def test_a_run_that_ended_before_its_first_step(runs: Path) -> None:
    for name in ("metrics.jsonl", "steps.csv"):
        (runs / "sgdr-1" / name).unlink()
    shutil.rmtree(runs / "sgdr-1" / "checkpoints")
    run = read_run(runs / "sgdr-1")
    assert (run.state, run.epochs, run.peak_learning_rate) == ("interrupted", (), None)
    assert run.reason == "can be resumed from its beginning"
    assert re.search(r"^sgdr-1 .* 0/3 +- +- +- +interrupted: ", done("list"), re.MULTILINE)
    done("show", "sgdr-1")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@hypothesis.settings(max_examples=150, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(data=st.data())
def test_no_content_of_a_file_is_too_much(trained: Path, tmp_path: Path, data: st.DataObject) -> None:
    run = tmp_path / "runs" / "run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(trained / "sgdr-1", run, ignore=shutil.ignore_patterns("checkpoints"))
    for name in ("config.json", "metrics.jsonl"):
        first, *others = (run / name).read_text().split("\n") if name != "config.json" else [(run / name).read_text()]
        values = json.loads(first)
        key = data.draw(st.sampled_from(sorted(values)))
        if isinstance(values[key], dict) and data.draw(st.booleans()):
            values[key] |= {data.draw(st.sampled_from(sorted(values[key]))): data.draw(JSON)}
        else:
            values[key] = data.draw(JSON)
        (run / name).write_text("\n".join([json.dumps(values), *others]))
    (found,) = find_runs(tmp_path / "runs")
    assert found.state in ("finished", "damaged", "interrupted")
    for arguments in (["list"], ["list", "--json"], ["show", "run"], ["show", "run", "--json"]):
        output = done(*arguments, "--dir", str(tmp_path / "runs"))
        assert "\x1b" not in output
        if arguments[-1] == "--json":
            json.loads(output, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


# ----------------------------------------------------------------------------------------------------------------- list


def test_list(runs: Path) -> None:
    header, *lines = done("list").splitlines()
    assert re.split(r" {2,}", header) == [
        "name", "plugin", "epochs", "accuracy", "loss", "peak lr", "state", "started", "time", "size"
    ]  # fmt: skip
    rows = [re.split(r" {2,}", each) for each in lines]
    assert [row[0] for row in rows] == ["sgdr-1", "linear-1", "sgdr-2"], "in the order of their beginnings"
    run = read_run(runs / "sgdr-1")
    assert run.last is not None
    assert rows[0][1:7] == [
        "sgdr(cycles=2, init_value=0.0, peak_v...",
        "3/3",
        f"{run.last.accuracy:.4f}",
        f"{run.last.loss:.4f}",
        f"{run.peak_learning_rate:.3g}",
        "finished",
    ]
    assert rows[2][6] == "interrupted: can be resumed at step 5"
    assert done() == done("list") == done("--dir", "runs")


def test_list_as_json(runs: Path) -> None:
    rows = json.loads(done("--json"))
    assert rows == json.loads(done("list", "--json"))
    assert [row["name"] for row in rows] == ["sgdr-1", "linear-1", "sgdr-2"]
    run = read_run(runs / "linear-1")
    assert rows[1] == json.loads(json.dumps(run.to_json() | {"path": "runs/linear-1"}))
    assert (rows[1]["epochs"], rows[1]["planned_epochs"], rows[1]["state"]) == (2, 2, "finished")
    assert rows[1]["peak_learning_rate"] == 0.01
    assert rows[1]["plugins"][0]["plugin"] == "linear"


@pytest.mark.parametrize(
    "sort", ["started", "name", "plugin", "state", "epochs", "accuracy", "loss", "peak-lr", "time", "size"]
)
def test_sorted(runs: Path, sort: str) -> None:
    (runs / "broken").mkdir()
    for name in ("metrics.jsonl", "steps.csv"):
        (runs / "broken" / name).write_text("")
    rows = json.loads(done("list", "--json", "--sort", sort))
    assert len(rows) == 4
    key = {"peak-lr": "peak_learning_rate", "time": "seconds", "size": "bytes"}.get(sort, sort)
    values = [row[key] for row in rows if row[key] is not None]
    descending = sort in ("epochs", "accuracy", "peak-lr", "time", "size")
    assert values == sorted(values, reverse=descending)
    if sort in ("started", "plugin", "accuracy", "loss", "peak-lr"):
        assert rows[-1]["name"] == "broken", "what has no value comes last"


def test_of_one_plugin(runs: Path) -> None:
    assert [row["name"] for row in json.loads(done("list", "--plugin", "SGDR", "--json"))] == ["sgdr-1", "sgdr-2"]
    assert done("list", "--plugin", "sgrd") == (
        "no run in runs has plugin 'sgrd' (did you mean 'sgdr'?): they have linear, sgdr\n"
    )
    assert json.loads(done("list", "--plugin", "sgrd", "--json")) == []


def test_no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert done() == "no run in runs: 'lrtrain --plugin sgdr' trains one\n"
    assert json.loads(done("--json")) == []
    assert refused("--dir", "nowhere") == "--dir nowhere is not there: give a directory with runs"


def test_listing_is_light(runs: Path) -> None:
    heavy = ["jax", "orbax", "flax", "optax", "numpy", "pydantic", "rich", "matplotlib", "tensorflow_datasets"]
    code = f"""
import sys
from lrtrain.cli import main
try:
    main()
except SystemExit:
    pass
print(sorted(set({heavy!r}) & set(sys.modules)))
"""
    for arguments in (["list"], ["list", "--json"], ["show", "sgdr-1"], ["compare", "sgdr-1", "sgdr-2"]):
        command = [sys.executable, "-c", code, "runs", *arguments]
        result = subprocess.run(command, check=True, text=True, capture_output=True)
        assert result.stdout.splitlines()[-1] == "[]"
        assert len(result.stdout.splitlines()) > 3


# ----------------------------------------------------------------------------------------------------------------- show


def test_show(runs: Path) -> None:
    text = done("show", "linear-1")
    lines = text.splitlines()
    assert lines[0] == "linear-1  (finished)"
    assert lines[1].startswith("runs/linear-1  (")
    values = dict(re.split(r" {2,}", each, maxsplit=1) for each in lines[4 : lines.index("", 4)])
    assert values["linear.init_value"] == "0.01"
    assert values["optimizer"] == "adam"
    assert values["device"] == "1 x cpu"
    assert values["versions.jax"] == __import__("jax").__version__
    epochs = text[text.index("epoch  ") :].splitlines()
    assert [each.split()[0] for each in epochs[:3]] == ["epoch", "1", "2"]
    assert lines[-2] == "Train it again"


def test_show_as_json(runs: Path) -> None:
    shown = json.loads(done("show", "linear-1", "--json"))
    run = read_run(runs / "linear-1")
    names = (
        "epoch", "step", "train_loss", "loss", "accuracy", "measured_on", "learning_rate", "seconds",
        "examples_per_second",
    )  # fmt: skip
    assert shown["history"] == [{name: getattr(epoch, name) for name in names} for epoch in run.epochs]
    assert (shown["settings"]["seed"], shown["settings"]["shuffle"]) == (7, False)
    assert shlex.split(shown["command"])[0] == "lrtrain"
    assert shown["no_command"] is None


@pytest.mark.parametrize("text", ["linear-1", "lin", "runs/linear-1", "runs/linear-1/", "./runs/linear-1"])
def test_a_run_is_named_by_path_name_or_beginning(runs: Path, text: str) -> None:
    assert json.loads(done("show", text, "--json"))["path"] == "runs/linear-1"


def test_a_name_in_another_directory_and_of_a_nested_run(runs: Path) -> None:
    (runs / "compare-1" / "runs").mkdir(parents=True)
    shutil.move(runs / "linear-1", runs / "compare-1" / "runs" / "tune-01")
    for text in ("compare-1/runs/tune-01", "tune-01", "tune", "compare-1"):
        assert json.loads(done("show", text, "--json"))["name"] == "compare-1/runs/tune-01"
    shutil.move(runs, runs.parent / "elsewhere")
    assert json.loads(done("show", "tune", "--dir", "elsewhere", "--json"))["name"] == "compare-1/runs/tune-01"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sgdr", "'sgdr' may be sgdr-1, sgdr-2: give more of the name, or the path"),
        ("sgrd-1", "no run 'sgrd-1' in runs (did you mean 'sgdr-1'?): 'lrtrain runs list' shows what is there"),
        ("liner", "no run 'liner' in runs (did you mean 'linear-1'?): 'lrtrain runs list' shows what is there"),
        ("zzz", "no run 'zzz' in runs: 'lrtrain runs list' shows what is there"),
        ("", "no run '' in runs: 'lrtrain runs list' shows what is there"),
        ("runs", "no run 'runs' in runs: 'lrtrain runs list' shows what is there"),
    ],
)
def test_a_run_that_is_not_there_or_not_the_only_one(runs: Path, text: str, sentence: str) -> None:
    for arguments in (["show", text], ["compare", "linear-1", text], ["remove", "--yes", text]):
        assert refused(*arguments) == sentence
    assert len(find_runs(runs)) == 3


def test_many_that_it_may_be(runs: Path) -> None:
    for number in range(3, 7):
        shutil.copytree(runs / "sgdr-1", runs / f"sgdr-{number}")
    assert refused("show", "sg") == "'sg' may be sgdr-1, sgdr-2, sgdr-3 and 3 more: give more of the name, or the path"


# ------------------------------------------------------------------------------------------------- the command of a run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[str, ...]], tuple[TrainConfig, list[Any]]]:
    """Returns a function that gives a command to the command line, and returns what `train` is asked for."""

    def parse(words: tuple[str, ...]) -> tuple[TrainConfig, list[Any]]:
        calls: list[Any] = []

        def record(*plugins: Any, **options: Any) -> None:
            calls.append((plugins, options))
            raise KeyboardInterrupt

        monkeypatch.setattr("lrtrain.training.train.train", record)
        assert words[0] == "lrtrain"
        result = CliRunner().invoke(main, words[1:])
        assert result.exit_code == 130, result.output
        ((plugins, options),) = calls
        fields = {field.name for field in dataclasses.fields(TrainConfig)}
        assert not options["settings"]
        given = {name: value for name, value in options.items() if name in fields}
        return TrainConfig(**given), [plugin.spec() for plugin in activate(plugins).plugins]

    return parse


Asked = Callable[[tuple[str, ...]], tuple[TrainConfig, list[Any]]]


@pytest.mark.parametrize("name", ["sgdr-1", "linear-1"])
def test_the_command_of_a_run_asks_for_the_same(runs: Path, name: str, asked: Asked) -> None:
    run = read_run(runs / name)
    assert run.head is not None
    command = done("show", name).splitlines()[-1].strip()
    assert shlex.split(command) == list(reproduce(run).words)
    assert asked(tuple(shlex.split(command))) == (run.head.train, list(run.head.plugins))


def test_the_command_leaves_out_what_is_at_its_default(runs: Path) -> None:
    run = read_run(runs / "linear-1")
    assert run.head is not None
    assert reproduce(run).words == (
        "lrtrain", "--plugin", "linear(init_value=0.01)", "--epochs", "2", "--batch-size", "16", "--optimizer", "adam",
        "--seed", "7", "--dataset", "tiny", "--data-dir", str(run.head.train.data_dir), "--no-shuffle",
    )  # fmt: skip


@pytest.mark.parametrize("version", ["0.0.9", "gone"])
def test_defaults_of_another_version_are_not_trusted(runs: Path, version: str, asked: Asked) -> None:
    config(**{"versions__lrtrain-linear": version})(runs / "linear-1")
    run = read_run(runs / "linear-1")
    assert run.head is not None
    words = reproduce(run).words
    assert words[2] == str(run.head.schedule)
    assert "transition_steps=" in words[2]
    assert asked(words) == (run.head.train, list(run.head.plugins))


def test_a_plugin_that_is_gone(runs: Path) -> None:
    config(plugins=[{"plugin": "gone", "a": 1}])(runs / "linear-1")
    assert done("show", "linear-1").splitlines()[-1].startswith("  lrtrain --plugin 'gone(a=1)' --epochs 2 ")


def head(train: TrainConfig, *specs: str) -> Run:
    """Returns a run that was asked for so."""
    active = activate(specs)
    plugins = tuple(plugin.spec() for plugin in active.plugins)
    versions = {plugin.entry.distribution: plugin.entry.version for plugin in active.plugins}
    values = Head(plugins, plugins[0], True, train, 10, versions, "1 x cpu", (), None, None, {})
    return Run(Path("x"), "x", "finished", None, values, (), 0, None, 0)


SPECS = [
    "constant(value=1e-3)",
    "cosine-decay(init_value=0.1, decay_steps=25%)",
    "exponential-decay(transition_steps=3ep)",
    "join(schedules=[cosine-decay(init_value=3e-4, decay_steps=1000, alpha=0.7), linear()], boundaries=[1000])",
    "linear",
    "piecewise-constant(init_value=3e-4, boundaries_and_scales={25%: 0.5, 50%: 0.5})",
    "piecewise-interpolate",
    "polynomial",
    "sgdr(cycles=4, peak_value=1e-3)",
    "warmup-cosine-decay(peak_value=1)",
    "wsd(peak_value=5e-4, decay_steps=30%)",
]


@pytest.mark.parametrize("spec", SPECS)
def test_every_kind_of_option_comes_back(spec: str, asked: Asked) -> None:
    run = head(TrainConfig(), spec)
    assert run.head is not None
    words = reproduce(run).words
    assert asked(words) == (TrainConfig(), list(run.head.plugins))
    if "(" not in spec:
        assert words == ("lrtrain", "--plugin", spec)


CONFIGS = st.builds(
    TrainConfig,
    epochs=st.integers(1, 1_000_000),
    batch_size=st.integers(1),
    optimizer=st.sampled_from([*map(canonical, OPTIMIZERS), "adamw(b2=0.95, mask=none)", "/a b/c.py:make(x=[1, a])"]),
    loss_reduction=st.sampled_from(LOSS_REDUCTIONS),
    seed=st.integers(0, 2**32 - 1),
    workload=st.sampled_from([DEFAULT_WORKLOAD, "char-lm(width=128)", "./my file.py:Class"]),
    dataset=st.text(),
    data_dir=st.none()
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50).map(Path),
    train_size=st.none() | st.integers(1),
    shuffle=st.booleans(),
    devices=st.none() | st.integers(1),
    micro_batch=st.none() | st.integers(1),
    model=st.none() | st.text(),
    label_smoothing=st.floats(0, 1),
    weight_decay=st.floats(0, allow_infinity=False),
    clip_norm=st.none() | st.floats(0, allow_infinity=False),
    accumulate=st.integers(1),
    ema=st.none() | st.floats(0, 1),
    holdout=st.none() | st.integers(0),
    init_from=st.none() | st.text(),
    precision=st.sampled_from(PRECISIONS),
    data_on_device=st.sampled_from(DATA_ON_DEVICE),
)


@hypothesis.settings(max_examples=50, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(config=CONFIGS)
def test_every_configuration_comes_back(asked: Asked, config: TrainConfig) -> None:
    words = reproduce(head(config, "constant")).words
    assert tuple(shlex.split(shlex.join(words))) == words
    assert asked(words)[0] == config


def test_every_field_has_been_drawn() -> None:
    built = inspect_builds()
    assert built == {field.name for field in dataclasses.fields(TrainConfig)}


def inspect_builds() -> set[str]:
    """Returns the fields that `CONFIGS` draws: those that differ from their defaults in some example."""
    default = TrainConfig()
    seen: set[str] = set()

    @hypothesis.settings(database=None, derandomize=True)
    @hypothesis.given(config=CONFIGS)
    def look(config: TrainConfig) -> None:
        seen.update(name for name, value in vars(config).items() if value != getattr(default, name))

    look()
    return seen


def test_a_run_under_two_schedules_has_no_command(runs: Path, train: Train) -> None:
    train(run_dir=runs / "sgdr-1", resume=True, epochs=4, on_schedule_change="keep")
    assert done("show", "sgdr-1").splitlines()[-1] == (
        "No single command trains it again: it was resumed under another schedule or for another number of epochs "
        "than it began with"
    )
    shown = json.loads(done("show", "sgdr-1", "--json"))
    assert shown["command"] is None
    assert shown["no_command"].startswith("it was resumed")


# -------------------------------------------------------------------------------------------------------------- compare


def test_compare(runs: Path) -> None:
    text = done("compare", "sgdr-1", "linear-1")
    first, second, notes = text.strip().split("\n\n")
    rows = {each.split()[0]: re.split(r" {2,}", each)[1:] for each in first.splitlines()}
    assert rows["differs"] == ["sgdr-1", "linear-1"]
    assert rows["plugin"] == ["sgdr", "linear"]
    assert rows["seed"] == ["0", "7"]
    assert rows["sgdr.cycles"] == ["2", "-"]
    assert "batch_size" not in rows
    results = {each[:15].strip(): each[15:].split() for each in second.splitlines()}
    assert results["state"] == ["finished", "finished"]
    assert results["epochs"] == ["3/3", "2/2"]
    assert notes.splitlines() == [
        f"note: not trained under equal conditions: {each}"
        for each in (
            "epochs is 3 in sgdr-1, 2 in linear-1",
            "optimizer is sgd in sgdr-1, adam in linear-1",
            "seed is 0 in sgdr-1, 7 in linear-1",
            "shuffle is true in sgdr-1, false in linear-1",
        )
    ]


def test_compare_epoch_by_epoch(runs: Path) -> None:
    table = done("compare", "linear-1", "sgdr-1", "--epochs").split("\n\n")[2].splitlines()
    one, other = read_run(runs / "linear-1").epochs, read_run(runs / "sgdr-1").epochs
    assert table[0].split("  ")[0] == "epoch"
    assert table[1].split() == ["1", *(f"{x:.4f}" for e in (one[0], other[0]) for x in (e.accuracy, e.loss))]
    assert table[3].split() == ["3", "-", "-", f"{other[2].accuracy:.4f}", f"{other[2].loss:.4f}"]


def test_compare_as_json(runs: Path) -> None:
    found = json.loads(done("compare", "sgdr-1", "linear-1", "--json"))
    assert found["differences"]["optimizer"] == {"sgdr-1": "sgd", "linear-1": "adam"}
    assert found["differences"]["sgdr.cycles"] == {"sgdr-1": 2, "linear-1": None}
    assert "batch_size" not in found["differences"]
    assert len(found["notes"]) == 4
    assert [found["runs"][name]["epochs"] for name in ("sgdr-1", "linear-1")] == [3, 2]
    history = json.loads(done("compare", "sgdr-1", "linear-1", "--json", "--epochs"))["runs"]["sgdr-1"]["history"]
    assert [epoch["step"] for epoch in history] == [5, 10, 15]


def test_compare_equal_runs(runs: Path) -> None:
    shutil.copytree(runs / "sgdr-1", runs / "other" / "sgdr-1")
    text = done("compare", "runs/sgdr-1", "runs/other/sgdr-1")
    assert text.startswith("their configurations are equal\n")
    assert text.splitlines()[2].split() == ["result", "runs/sgdr-1", "runs/other/sgdr-1"]
    assert "note" not in text


def test_compare_notes_a_run_that_is_not_finished(runs: Path) -> None:
    assert done("compare", "sgdr-1", "sgdr-2").splitlines()[-1] == (
        "note: sgdr-2 is interrupted after 2 of 3 epochs: can be resumed at step 5"
    )


def test_compare_notes_other_data(runs: Path) -> None:
    shutil.copytree(runs / "sgdr-1", runs / "more")
    config(steps_per_epoch=6, total_steps=18)(runs / "more")
    assert "total_steps is 15 in sgdr-1, 18 in more" in done("compare", "sgdr-1", "more")
    config(train__dataset="mnist", steps_per_epoch=5, total_steps=15)(runs / "more")
    assert "dataset is tiny in sgdr-1, mnist in more" in done("compare", "sgdr-1", "more")


def test_compare_notes_other_images(runs: Path) -> None:
    metrics = runs / "sgdr-2" / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"test_', '"validation_'))
    note = "note: not measured on the same images: accuracy and loss are of the test images in sgdr-1, the validation"
    assert note in done("compare", "sgdr-1", "sgdr-2")


def test_compare_needs_two(runs: Path) -> None:
    assert refused("compare", "sgdr-1") == "one run is given, and a comparison needs two or more: name another"
    assert refused("compare", "sgdr-1", "runs/sgdr-1") == "runs/sgdr-1 is named twice: name it once"


# --------------------------------------------------------------------------------------------------------------- remove


def left(runs: Path) -> list[str]:
    return sorted(path.name for path in runs.iterdir())


def test_remove(runs: Path) -> None:
    size = read_run(runs / "sgdr-1").size
    assert re.fullmatch(rf"removed runs/sgdr-1  \({size / 1000:.3g} kB\)\n", done("remove", "sgdr-1", "--yes"))
    assert left(runs) == ["linear-1", "sgdr-2"]
    *_, last = done("remove", "--yes", "sgdr-2", "runs/linear-1").splitlines()
    assert re.fullmatch(r"\d+ kB freed", last)
    assert left(runs) == []


def test_remove_what_a_killed_run_leaves(runs: Path) -> None:
    (runs / "sgdr-2" / ".config.json.1234").write_text("{")
    (runs / "sgdr-2" / "checkpoints" / "step_10.orbax-checkpoint-tmp" / "state.orbax-checkpoint-tmp").mkdir(
        parents=True
    )
    done("remove", "--yes", "sgdr-2")
    assert left(runs) == ["linear-1", "sgdr-1"]


def test_remove_asks_for_yes_without_a_terminal(runs: Path) -> None:
    assert refused("remove", "sgdr-1") == "nothing is removed: without a terminal to ask on, --yes has to be given"
    assert len(left(runs)) == 3


FOREIGN = [
    "notes.txt",
    "config.json.bak",
    ".hidden",
    "best/model.npz",
    "checkpoints/mine.txt",
    "checkpoints/step_5/a.npz",
    "checkpoints/step_5/state/a.npz",
    "checkpoints/step_5/state/d/a.npz",
    "checkpoints/step_5/metrics/thesis.txt",
    "sgdr/thesis.txt",
    "tensorboard/events",
]


def remains(run: Path) -> list[str]:
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_symlink() or not path.is_dir())


@pytest.mark.parametrize("name", FOREIGN)
def test_remove_keeps_and_names_what_is_not_the_runs(runs: Path, name: str) -> None:
    foreign = runs / "sgdr-2" / name
    foreign.parent.mkdir(exist_ok=True, parents=True)
    foreign.write_text("mine")
    kept = foreign.parent if name.split("/", 1)[0] in ("best", "sgdr", "tensorboard") else foreign
    first, *_, second, last, freed = done("remove", "--yes", "sgdr-1", "sgdr-2").splitlines()
    assert (first.split("  ")[0], second.split("  ")[0]) == ("removed runs/sgdr-1", "removed runs/sgdr-2")
    assert last == f"kept {kept.relative_to(runs.parent)}  (not known to be the run's own)"
    assert freed.endswith(" freed")
    assert left(runs) == ["linear-1", "sgdr-2"]
    assert remains(runs / "sgdr-2") == [name], "and nothing else"
    assert foreign.read_text() == "mine"


def test_remove_keeps_a_run_within_a_run(runs: Path) -> None:
    inner = runs / "sgdr-2" / "sgdr"
    shutil.move(runs / "sgdr-1", inner)
    before = remains(inner)
    assert "kept runs/sgdr-2/sgdr  (" in done("remove", "--yes", "sgdr-2")
    assert remains(inner) == before
    assert read_run(inner).state == "finished"
    assert [path.name for path in (runs / "sgdr-2").iterdir()] == ["sgdr"]


def test_remove_keeps_empty_directories_that_are_not_the_runs(runs: Path) -> None:
    (runs / "sgdr-2" / "checkpoints" / "mine").mkdir()
    assert "kept runs/sgdr-2/checkpoints/mine  (" in done("remove", "--yes", "sgdr-2")
    assert (runs / "sgdr-2" / "checkpoints" / "mine").is_dir()


# What the oldest supported Orbax, distributed runs and killed processes write beside what the runs of these tests have.
OWN = [
    "checkpoints/step_5/state/_sharding",
    "checkpoints/step_5/state/array_metadatas/process_0",
    "checkpoints/step_5/state/ocdbt.process_11/d/6345bb82eae92e37c69fa4d85af82a39",
    "checkpoints/step_5/state/ocdbt.process_11/manifest.ocdbt",
    "checkpoints/step_5/state/d/6345bb82eae92e37c69fa4d85af82a39.__lock",
    "checkpoints/step_5/learning_rates/checkpoint/0.__lock",
    "checkpoints/step_5.orbax-checkpoint-tmp-7/state.orbax-checkpoint-tmp-8/_METADATA",
    "checkpoints/damaged_step_5/state/manifest.ocdbt",
    "checkpoints/damaged_step_5_2/progress/metadata",
    "checkpoints/damaged_step_5-2/progress/metadata",
    ".metrics.jsonl.123",
]


def test_remove_knows_all_that_a_run_may_leave(runs: Path) -> None:
    for name in OWN:
        (runs / "sgdr-2" / name).parent.mkdir(parents=True, exist_ok=True)
        (runs / "sgdr-2" / name).write_text("")
    assert "kept" not in done("remove", "--yes", "sgdr-2")
    assert left(runs) == ["linear-1", "sgdr-1"]


@pytest.mark.parametrize("name", ["steps.csv", "checkpoints", "checkpoints/step_5", "checkpoints/step_5/state/d"])
def test_remove_does_not_follow_links(runs: Path, name: str) -> None:
    inside, outside = runs / "sgdr-2" / name, runs.parent / "outside"
    shutil.move(inside, outside)
    inside.symlink_to(outside)
    before = sorted(outside.rglob("*"))
    assert f"kept runs/sgdr-2/{name}  (" in done("remove", "--yes", "runs/sgdr-2")
    assert sorted(outside.rglob("*")) == before
    assert remains(runs / "sgdr-2") == [name]


def test_remove_refuses_a_link_to_a_run(runs: Path) -> None:
    (runs / "best").symlink_to(runs / "sgdr-1")
    assert refused("remove", "--yes", "runs/best") == (
        "runs/best is a symbolic link: name the directory that it points to"
    )
    assert left(runs) == ["best", "linear-1", "sgdr-1", "sgdr-2"]


def test_remove_refuses_what_may_be_no_run(runs: Path) -> None:
    (runs / "sgdr-1" / "config.json").write_text("{")
    (runs / "sgdr-2" / "config.json").write_text("{}")
    (runs / "linear-1" / "config.json").unlink()
    assert [refused("remove", "--yes", name) for name in left(runs)] == [
        "runs/linear-1 is not removed: config.json is missing, so it may not be a run",
        "runs/sgdr-1 is not removed: config.json is not JSON, so it may not be a run",
        "runs/sgdr-2 is not removed: its config.json is not that of a run",
    ]
    assert len(left(runs)) == 3


def test_remove_a_run_with_damaged_logs(runs: Path) -> None:
    (runs / "sgdr-1" / "metrics.jsonl").write_text("?\n")
    done("remove", "--yes", "sgdr-1")
    assert left(runs) == ["linear-1", "sgdr-2"]


def test_remove_names_one_run_once(runs: Path) -> None:
    assert refused("remove", "--yes", "sgdr-1", "./runs/sgdr-1") == "runs/sgdr-1 is named twice: name it once"
    assert len(left(runs)) == 3


# -------------------------------------------------------------------------------------------------------- on a terminal

pty = pytest.importorskip("pty", reason="needs terminals as Unix has them")


def on_terminal(*arguments: str, answer: str = "", columns: int = 160) -> tuple[str, int]:
    """Returns what a command prints on a terminal, and its exit status."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)}
    command = [sys.executable, "-m", "lrtrain", "runs", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        os.write(ours, answer.encode())
        output = b""
        while True:
            try:
                output += os.read(ours, 65536)
            except OSError:  # all that had it open have gone
                break
    os.close(ours)
    return output.decode().replace("\r\n", "\n"), process.returncode


@pytest.mark.parametrize(("answer", "removed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_remove_asks_on_a_terminal(runs: Path, answer: str, removed: bool) -> None:
    output, status = on_terminal("remove", "sgdr-1", answer=answer)
    assert "runs/sgdr-1  (finished, " in output
    assert "Remove this run for good? [y/N]" in output
    assert (runs / "sgdr-1").exists() is not removed
    assert ("removed runs/sgdr-1" if removed else "nothing is removed") in output.splitlines()[-1]
    assert status == (0 if removed else 1)


@pytest.mark.parametrize(
    ("columns", "titles"),
    [
        (160, ["name", "plugin", "epochs", "accuracy", "loss", "peak", "lr", "state", "started", "time", "size"]),
        (120, ["name", "plugin", "epochs", "accuracy", "loss", "peak", "lr", "state", "started", "time"]),
        (72, ["name", "epochs", "accuracy", "loss", "state", "time"]),
    ],
)
def test_the_table_fits_the_terminal(runs: Path, columns: int, titles: list[str]) -> None:
    output, status = on_terminal("list", columns=columns)
    lines = click.unstyle(output).splitlines()
    assert (lines[0].split(), status) == (titles, 0)
    assert max(map(len, lines)) <= columns
    assert [each.split()[0] for each in lines if each.startswith(("sgdr", "linear-"))] == [
        "sgdr-1",
        "linear-1",
        "sgdr-2",
    ]
    assert "\x1b[1mname" in output


def harmless(output: str) -> None:
    output = output.replace("\x1b[31m\x1b[1mError: ", "")
    codes = re.sub(r"\x1b\[[0-9;]*m", "", output)
    assert "\x1b[31m" not in output, "no colour but ours"
    assert [each for each in codes if not each.isprintable() and each != "\n"] == []


def test_control_sequences_do_not_reach_the_terminal(runs: Path) -> None:
    evil = runs / f"sgdr{ESCAPE.strip()}"
    shutil.move(runs / "sgdr-1", evil)
    config(train__dataset=ESCAPE, train__model=ESCAPE, device__kind=ESCAPE, versions={ESCAPE: ESCAPE})(evil)
    config(plugins=[{"plugin": "linear", "mode": ESCAPE}])(runs / "linear-1")
    progress = runs / "linear-1" / "checkpoints" / "step_10" / "progress" / "metadata"
    change(progress, stopped=ESCAPE)
    line("metrics.jsonl", 2, json.dumps({"epoch": 1, "step": ESCAPE}))(runs / "sgdr-2")
    lines = (runs / "linear-1" / "metrics.jsonl").read_text().splitlines()
    (runs / "linear-1" / "metrics.jsonl").write_text(lines[0] + "\n")
    assert "\\x1b[31mred" in done("list")
    for arguments in (
        ["list"],
        ["list", "--json"],
        ["list", "--plugin", ESCAPE],
        ["show", evil.name],
        ["show", evil.name, "--json"],
        ["show", "linear-1"],
        ["show", "sgdr-2"],
        ["show", ESCAPE],
        ["compare", evil.name, "linear-1", "sgdr-2", "--epochs"],
        ["remove", evil.name, ESCAPE],
    ):
        harmless(call(*arguments).output)
    for arguments in (["list"], ["show", evil.name], ["show", ESCAPE], ["compare", evil.name, "linear-1", "--epochs"]):
        output, _ = on_terminal(*arguments)
        assert "red" in output
        harmless(output)
    output, _ = on_terminal("remove", evil.name, answer="y\n")
    harmless(output)
    assert not evil.exists()


# ------------------------------------------------------------------------------------------------------- the front door


@pytest.mark.parametrize("command", [[], ["list"], ["show"], ["compare"], ["remove"]])
def test_help(command: list[str]) -> None:
    text = done(*command, "--help")
    assert text == done(*command, "-h")
    assert text.startswith(" ".join(["Usage: lrtrain runs", *command]))
    assert max(map(len, text.splitlines())) <= 100


def test_completion(runs: Path) -> None:
    assert completed("lrtrain runs ", 2) == ["compare", "list", "remove", "show"]
    assert completed("lrtrain runs show s", 3) == ["sgdr-1", "sgdr-2"]
    shutil.move(runs, runs.parent / "elsewhere")
    assert completed("lrtrain runs remove --dir elsewhere l", 5) == ["linear-1"]


# ----------------------------------------------------------------------------------------------- docs/reference/runs.md


def blocks(language: str) -> list[Block]:
    return markdown.blocks(DOCS.read_text(encoding="utf-8"), language)


@pytest.mark.parametrize("number", range(4))
def test_the_python_of_the_docs(runs: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    block = blocks("python")[number]
    for library in set(re.findall(r"^import (pandas|polars)$", block.text, re.MULTILINE)):
        pytest.importorskip(library, reason=f"{library} is in the group test")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    shutil.copytree(runs / "sgdr-1", runs / "sgdr-20261123-080358")
    names = executed(block)
    run = read_run(runs / "sgdr-1")
    if "epochs" in names:
        assert names["epochs"].shape == (3, 8)
        assert list(names["epochs"]["test_accuracy"]) == [epoch.accuracy for epoch in run.epochs]
        assert names["steps"].shape == (15, 4)
        assert list(names["steps"]["step"]) == list(range(15))
    if "runs" in names:
        assert sorted(names["runs"]["name"]) == ["linear-1", "sgdr-1", "sgdr-2", "sgdr-20261123-080358"]
        assert Path("runs.csv").read_text().count("\n") == 5
    if "best" in names:
        assert names["run"].epochs == run.epochs
        assert names["best"].last.accuracy == max(each.accuracy for each in run.epochs[-1:])


def test_all_python_of_the_docs_is_run() -> None:
    assert len(blocks("python")) == 4


def test_the_commands_of_the_docs(runs: Path) -> None:
    commands, *_ = blocks("console")
    for old, new in (("sgdr-1", "sgdr-20261123-080358"), ("linear-1", "wsd-20261124-080358")):
        shutil.move(runs / old, runs / new)
    for each in commands.text.splitlines():
        _, _, *arguments = shlex.split(each, comments=True)
        assert call(*arguments, *(["--yes"] if "remove" in arguments else [])).exit_code == 0, each
    assert left(runs) == ["sgdr-2", "wsd-20261124-080358"]


def test_the_docs_name_every_state_and_column(runs: Path) -> None:
    from typing import get_args

    from lrtrain.runs.reading import State

    text = DOCS.read_text(encoding="utf-8")
    table = re.findall(r"^\| `([a-z]+)` \|", text.split("| state |")[1].split("\n\n")[0], re.MULTILINE)
    assert sorted(table) == sorted(get_args(State))
    keys = json.loads((runs / "sgdr-1" / "metrics.jsonl").read_text().splitlines()[0])
    for key in keys:
        assert re.search(rf"^\|.*`{key}`.*\|", text, re.MULTILINE)
