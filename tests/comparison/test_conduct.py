"""Comparisons that really train, on the small data set."""

from __future__ import annotations

import csv
import dataclasses
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrtrain
from lrtrain.comparison.conduct import compare_plan
from lrtrain.comparison.merging import merge
from lrtrain.comparison.plan import Effort, Plan
from lrtrain.comparison.plan_file import parse_plan, preset_text, read_plan, read_preset
from lrtrain.comparison.reporter import NullReporter
from lrtrain.comparison.result import read_comparison
from lrtrain.comparison.rows import Row, labelled
from lrtrain.comparison.store import Store
from lrtrain.comparison.trial import Outcome
from lrtrain.comparison.verdict import verdict
from lrtrain.data import load_dataset
from lrtrain.data.source import hold_out
from lrtrain.errors import RunDirError, UsageError
from lrtrain.host import usable_cores
from lrtrain.plugins.spec import Spec
from lrtrain.report.comparison_page import at_scale, page_of_comparison
from lrtrain.runs.train_config import TrainConfig
from tests.lab import cli, done, process, refusal

BREAKS = """
from dataclasses import dataclass
import lrtrain

@dataclass(frozen=True)
class Plugin:
    '''Raises in a hook.'''

    @lrtrain.hookimpl
    def build_schedule(self, context):
        return lambda step: 1e-3

    @lrtrain.hookimpl
    def on_step(self, run, step):
        if step.step == 2:
            raise RuntimeError("no more")
"""
STOPS = """
from dataclasses import dataclass
import lrtrain

@dataclass(frozen=True)
class Plugin:
    '''Ends its run after the first epoch.'''

    @lrtrain.hookimpl
    def build_schedule(self, context):
        return lambda step: 1e-3

    @lrtrain.hookimpl
    def on_epoch_end(self, run, epoch, history):
        return lrtrain.Stop("enough")
"""


def config(tiny: Path, **options: Any) -> TrainConfig:
    values = {"epochs": 2, "batch_size": 16, "dataset": "tiny", "data_dir": tiny, "loss_reduction": "mean", **options}
    return TrainConfig(**values)


def fair(tiny: Path, *specs: str, **options: Any) -> Plan:
    effort = Effort((0.5, 1.0, 2.0), 1, 2, 2)
    return Plan(labelled(specs), config(tiny), effort=effort, holdout=20, **options)


def as_is(tiny: Path, *specs: str, **options: Any) -> Plan:
    return Plan(labelled(specs), config(tiny, **options), "as-is", holdout=0)


class Stopping(NullReporter):
    """Interrupts after some runs."""

    def __init__(self, after: int) -> None:
        self.after = after

    def finished(self, outcome: Outcome, done: int, total: int) -> None:
        if done >= self.after:
            raise KeyboardInterrupt


def test_a_run_of_a_comparison_is_the_run_alone(tiny: Path, tmp_path: Path) -> None:
    specs = ("constant(value=0.05)", "linear(init_value=0.1)", "wsd(peak_value=0.1)")
    comparison = compare_plan(as_is(tiny, *specs, shuffle=False), directory=tmp_path / "c")
    for spec, row in zip(specs, comparison.plan.rows, strict=True):
        (outcome,) = comparison.measured(row.label)
        alone = lrtrain.train(
            spec, run_dir=tmp_path / row.label, epochs=2, batch_size=16, dataset="tiny", data_dir=tiny, devices=1,
            loss_reduction="mean", shuffle=False,
        )  # fmt: skip
        assert outcome.validation_loss == pytest.approx(alone.test_loss, rel=1e-5)
        assert outcome.validation_accuracy == pytest.approx(alone.test_accuracy)
        index = comparison.plan.rows.index(row)
        mine = tmp_path / "c" / "runs" / outcome.trial.directory(index)
        ours, theirs = (np.loadtxt(path / "steps.csv", delimiter=",", skiprows=1) for path in (mine, alone.run_dir))
        np.testing.assert_array_equal(ours[:, :3], theirs[:, :3])
        np.testing.assert_allclose(ours[:, 3], theirs[:, 3], rtol=1e-4)
        assert len((mine / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_fair_comparison_that_was_interrupted_goes_on(tiny: Path, tmp_path: Path) -> None:
    plan = fair(tiny, "constant(value=0.05)", "linear(init_value=0.1)")
    whole = compare_plan(plan, directory=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        compare_plan(plan, directory=tmp_path / "torn", reporter=Stopping(3))
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "torn").rglob("outcome.json")}
    assert done
    again = compare_plan(None, directory=tmp_path / "torn", resume=True)
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())

    def results(outcomes: tuple[Outcome, ...]) -> set[Any]:
        return {(o.trial, o.validation_loss, o.test_accuracy) for o in outcomes}

    assert results(again.outcomes) == results(whole.outcomes)
    tuning = [o for o in whole.outcomes if o.trial.stage == "tune"]
    assert all(o.test_accuracy is None for o in tuning), "the tuning has looked at the test set"
    assert all(o.test_accuracy is not None for o in whole.outcomes if o.trial.stage == "measure")
    evidence = whole.evidence
    assert not evidence.enough
    assert verdict(evidence)[0].startswith("With 2 seeds no difference can be found, whatever it is")
    json.dumps(evidence.to_json(), allow_nan=False)


def test_what_goes_wrong_in_one_run_leaves_the_others(
    tiny: Path, tmp_path: Path, install_plugin: Callable[..., str]
) -> None:
    breaks, stops = install_plugin("breaks", BREAKS), install_plugin("stops", STOPS)
    plan = as_is(tiny, "constant(value=1e30)", breaks, stops, "constant(value=0.05)", "missing")
    outcomes = {o.trial.label: o for o in compare_plan(plan, directory=tmp_path / "c").outcomes}
    assert outcomes["constant(value=1e+30)"].state == "diverged"
    assert "the loss is" in str(outcomes["constant(value=1e+30)"].reason)
    assert outcomes[breaks].state == "failed"
    assert "no more" in str(outcomes[breaks].reason)
    assert (outcomes[stops].state, outcomes[stops].steps) == ("stopped", 5)
    assert outcomes[stops].validation_loss is not None
    assert "no plugin 'missing' is installed" in str(outcomes["missing"].reason)
    alone = compare_plan(as_is(tiny, "constant(value=0.05)", "linear"), directory=tmp_path / "alone")
    good = alone.measured("constant")[0]
    assert outcomes["constant(value=0.05)"].validation_loss == good.validation_loss


def test_a_plugin_in_a_file_is_found_from_another_directory(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for directory in (here, elsewhere):
        directory.mkdir()
    (here / "mine.py").write_text(STOPS)
    # In a list, a name without options may as well be text.
    joins = [
        f"join(schedules=[{name}, constant], boundaries=[2])" for name in ("./mine.py:Plugin", "'./mine.py:Plugin'")
    ]
    monkeypatch.chdir(here)
    plan = as_is(tiny, "./mine.py:Plugin", *joins)
    assert plan.rows[0].label == "plugin"
    with pytest.raises(KeyboardInterrupt):
        compare_plan(plan, directory=tmp_path / "c", reporter=Stopping(1))
    monkeypatch.chdir(elsewhere)
    again = compare_plan(None, directory=tmp_path / "c", resume=True)
    assert [outcome.state for outcome in again.outcomes] == ["stopped", "finished", "finished"]
    rows = [
        'plugin = "./mine.py:Plugin"',
        'plugin = "join"\nschedules = ["./mine.py:Plugin", "constant"]\nboundaries = [2]',
    ]
    (here / "plan.toml").write_text("".join(f"[[schedules]]\n{row}\n" for row in rows))
    found = read_plan(Path("../here/plan.toml"))
    assert [row.label for row in found.rows] == ["plugin", "join"]
    found = dataclasses.replace(found, train=config(tiny), protocol="as-is", holdout=0)
    read = compare_plan(found, directory=tmp_path / "d")
    assert [outcome.state for outcome in read.outcomes] == ["stopped", "finished"]
    # What is equal but for where its files are can be put together.
    merge([tmp_path / "d", tmp_path / "c"], tmp_path / "both")


def test_merging(tiny: Path, tmp_path: Path) -> None:
    plan = fair(tiny, "constant(value=0.05)", "linear(init_value=0.1)")
    compare_plan(plan, directory=tmp_path / "one")
    other = dataclasses.replace(plan, rows=labelled(["linear(init_value=0.1)", "wsd(peak_value=0.1)"]))
    compare_plan(other, directory=tmp_path / "two")
    merged = merge([tmp_path / "one", tmp_path / "two"], tmp_path / "both")
    counts = [len(Store(tmp_path / name).outcomes()) for name in ("one", "two", "both")]
    trials = [{outcome.trial for outcome in Store(tmp_path / name).outcomes()} for name in ("one", "two", "both")]
    assert trials[2] == trials[0] | trials[1]
    assert counts == list(map(len, trials))
    assert [row.label for row in merged.read()[0].rows] == ["constant", "linear", "wsd"]
    complete = compare_plan(None, directory=merged.path, resume=True)
    assert {len(complete.measured(label)) for label in ("constant", "linear", "wsd")} == {2}

    different = dataclasses.replace(plan, train=config(tiny, batch_size=8))
    compare_plan(different, directory=tmp_path / "three")
    with pytest.raises(UsageError, match="one and three cannot be merged: batch_size is 16 in one and 8 in the other"):
        merge([tmp_path / "one", tmp_path / "three"], tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_nothing_is_overwritten(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(RunDirError, match="is not empty: give another directory"):
        compare_plan(as_is(tiny, "constant", "linear"), directory=tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    with pytest.raises(RunDirError, match="holds no comparison"):
        compare_plan(None, directory=tmp_path / "full", resume=True)


def test_a_comparison_is_worked_on_by_one_process(tiny: Path, tmp_path: Path) -> None:
    whole = compare_plan(as_is(tiny, "constant", "linear"), directory=tmp_path / "c")
    with Store(tmp_path / "c").locked():
        # One that is complete can be looked at: nothing is trained, and its data may be gone.
        shutil.move(tiny, tmp_path / "elsewhere")
        try:
            assert compare_plan(None, directory=tmp_path / "c", resume=True).outcomes == whole.outcomes
        finally:
            shutil.move(tmp_path / "elsewhere", tiny)
        next((tmp_path / "c").rglob("outcome.json")).unlink()
        with pytest.raises(RunDirError, match="another process is working on"):
            compare_plan(None, directory=tmp_path / "c", resume=True)


def test_held_out_examples_are_no_others(tiny: Path) -> None:
    whole = load_dataset("tiny", data_dir=tiny)
    kept, held = hold_out(whole, 20, 3)
    assert held is not None
    assert (len(kept.train), len(held)) == (52, 20)
    both = np.concatenate([kept.train.inputs, held.inputs]).reshape(72, -1)
    assert sorted(map(bytes, both)) == sorted(map(bytes, whole.train.inputs.reshape(72, -1)))
    again = hold_out(whole, 20, 3)[1]
    assert again is not None
    np.testing.assert_array_equal(again.inputs, held.inputs)
    with pytest.raises(UsageError, match="holdout=72 leaves nothing of the 72 training examples"):
        hold_out(whole, 72, 3)


@pytest.mark.parametrize("holdout", [0, -5, 2.5, "x", True])
def test_the_test_set_is_no_validation_set(holdout: Any, tiny: Path, tmp_path: Path) -> None:
    expected = f"holdout={holdout} is refused: expected a whole number of training examples, at least 1 with"
    with pytest.raises(UsageError, match=expected):
        lrtrain.compare("constant", "sgdr", holdout=holdout, dataset="tiny", data_dir=tiny, run_dir=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_comparison_that_was_tuned_on_the_test_set_does_not_go_on(tiny: Path, tmp_path: Path) -> None:
    tuned = dataclasses.replace(fair(tiny, "constant", "linear"), holdout=0)
    for name in ("a", "b"):
        Store(tmp_path / name).create(tuned, {})
    for arguments in (
        ["--resume", "--run-dir", tmp_path / "a"],
        ["--merge", tmp_path / "a", "--merge", tmp_path / "b"],
    ):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "comparison.json: holdout=0 is refused: expected a whole number" in result.stderr, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


# ---------------------------------------------------------------------------------------------------------------- files


@pytest.mark.skipif(usable_cores() < 2, reason="on one core there is one device, with or without the fault")
def test_a_workload_is_compared_on_every_core(tmp_path: Path) -> None:
    """Its network is examined, which starts JAX; the number of devices is chosen before."""
    plugins = ["--plugin", "constant", "--plugin", "linear"]
    words = [
        "--workload",
        "linear-regression(examples=160)",
        *plugins,
        "--budget",
        "quick",
        "--run-dir",
        tmp_path / "all",
    ]
    compared = process("compare", *words, JAX_NUM_CPU_DEVICES="-1")
    assert compared.returncode == 0, compared.stderr
    assert "JAX was in use" not in compared.stderr
    assert read_comparison(tmp_path / "all").about["device"]["count"] == usable_cores()


def test_the_preset_is_the_listing() -> None:
    plan = read_preset("tutorial")
    assert len(plan.rows) == 14
    assert plan.protocol == "as-is"
    assert (plan.train.epochs, plan.train.batch_size, plan.train.shuffle, plan.train.seed) == (10, 256, False, 0)
    assert plan.rows[9] == Row(
        "Polynomial",
        Spec.of(
            "polynomial(init_value=1e-4, end_value=1e-5, power=0.5, transition_steps='100%', transition_begin='20%')"
        ),
    )
    assert parse_plan(preset_text("tutorial"), "a copy") == plan


TWO = "[[schedules]]\nplugin='linear'\n[[schedules]]\nplugin='sgdr'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = 1\nprotocl = 1", r"x, line 2: there is no key 'protocl' \(did you mean 'protocol'\?\)"),
        ("[train]\nepochs = 2\nepoch = 3", r"x, line 3: \[train\] has no key 'epoch' \(did you mean 'epochs'\?\)"),
        ("[train]\nepochs = 0", "x, line 2: epochs=0 is refused"),
        ("schedules = []", "x, line 1: there is no schedule"),
        ("", "x: there is no schedule"),
        ('[[schedules]]\nplugin = "linear"\n\n[[schedules]]\nplugin = "lineer"', "x, line 5: no plugin 'lineer'"),
        (
            '[[schedules]]\nplugin = "linear"\n[[schedules]]\nplugin = "linear"\nend_valu = 2',
            "x, line 5: .*end_valu.*did you mean 'end_value'",
        ),
        (
            '[[schedules]]\nplugin = "linear"\n[[schedules]]\nplugin = "linear"',
            "line 4: two schedules are called 'linear'",
        ),
        (
            '[[schedules]]\nlabel = "a"\nplugin = "linear"\n[[schedules]]\nplugin = "sgdr"\nlabel = "a"',
            "x, line 6: two schedules are called 'a'",
        ),
        ('[[schedules]]\nplugin = "linear"', "at least two schedules, and 1 is given"),
        ("[effort]\nseeds = 0\n[[schedules]]\nplugin='linear'\n[[schedules]]\nplugin='sgdr'", "x, line 2: seeds=0"),
        *(
            (f"protocol = 'fair'\nholdout = {value}\n{TWO}", "x, line 2: holdout=.* is refused: .* at least 1 with")
            for value in ("0", "-5", "2.5", '"x"', "true")
        ),
        (f"protocol = 'as-is'\nholdout = 20\n{TWO}", "x, line 2: holdout=20 is refused: expected 0, as nothing"),
        ("[effort]\nscales = [1, -2]\n[[schedules]]\nplugin='linear'\n[[schedules]]\nplugin='sgdr'", "line 2: .*-2"),
        ("[effort]\nbudget = 'huge'\n[[schedules]]\nplugin='linear'", "x, line 2: budget = 'huge' is refused"),
        ("version = 2", "x, line 1: version = 2 is refused"),
        ("a = = 1", r"x is not TOML: .*line 1"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_plan(text, "x")


def test_a_file_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        read_plan(tmp_path / "no.toml")
    assert str(raised.value) == f"{tmp_path / 'no.toml'} cannot be read: No such file or directory"


# --------------------------------------------------------------------------------------------------------- command line


def run(*arguments: str | Path) -> Any:
    return cli("compare", *arguments)


def test_the_table(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = ("--dataset", "tiny", "--data-dir", tiny, "--batch-size", "16", "--loss-reduction", "mean")
    plugins = ("--plugin", "constant(value=0.05)", "--plugin", "linear(init_value=0.1)")
    result = run(*plugins, *data, "--epochs", 1, "--lr-scales", "1", "--tuning-seeds", 1, "--seeds", 2, "--holdout", 20)
    assert result.exit_code == 0, result.output
    assert "2 schedules, 6 runs (2 to tune, 4 to measure), 2 at once" in result.stderr
    assert "2 seeds cannot distinguish any schedules (the smallest p that they can give is 0.5): --seeds 6 could" in (
        result.stderr
    )
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["schedule", "constant", "linear"]
    (directory,) = (tmp_path / "runs").iterdir()
    resumed = run("--resume", "--run-dir", directory, "--json")
    values = json.loads(resumed.stdout)
    assert [row["label"] for row in values["schedules"]] == ["constant", "linear"]
    assert values["schedules"][0]["accuracy"]["n"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to compare was named"),
        (("--plugin", "sgdr"), "at least two schedules"),
        (("--plugin", "sgdr", "--plugin", "sgdx"), "no plugin 'sgdx'"),
        (("--preset", "tutorail"), "there is no preset 'tutorail' (did you mean 'tutorial'?)"),
        (("--preset", "tutorial", "--seeds", "3"), "--seeds cannot be given with a preset"),
        (("--plugin", "sgdr", "--plugin", "wsd", "--lr-scales", "1,x"), "'1,x' is refused: expected numbers"),
        (("--plugin", "sgdr", "--plugin", "wsd", "--lr-scales", "1,0"), "scale 0.0 is refused"),
        (("--plugin", "sgdr", "--plugin", "wsd", "--seeds", "0"), "seeds=0 is refused"),
        (
            ("--plugin", "sgdr", "--plugin", "wsd", "--seed", str(2**32 - 1)),
            "seed=4294967295 is refused",
        ),
        (("--plugin", "sgdr", "--plugin", "wsd", "--epochs", "1" * 400), "is refused: expected a whole number from 1"),
        (("--resume", "--seeds", "3"), "--seeds cannot be given with --resume"),
        (("--resume", "--plugin", "sgdr"), "--plugin cannot be given with --resume"),
        (("--resume", "--config", "x.toml"), "--config cannot be given with --resume"),
        (("--resume", "--run-dir", "a" * 300), "cannot be read (File name too long)"),
        (("--resume",), "its directory is missing"),
    ],
)
def test_bad_usage(arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert list(tmp_path.iterdir()) == []


def test_the_preset_can_be_copied() -> None:
    result = run("--show-preset", "tutorial")
    assert parse_plan(result.stdout, "a copy") == read_preset("tutorial")


HALVES = """
from dataclasses import dataclass
import lrtrain

@dataclass(frozen=True)
class Halves:
    '''Halves the learning rate after each epoch.'''

    @lrtrain.hookimpl
    def on_epoch_end(self, run, epoch, history):
        return lrtrain.ScaleLearningRate(0.5)
"""


class TestObservers:
    """A schedule with plugins that run beside it."""

    @pytest.fixture
    def halves(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        (tmp_path / "halves.py").write_text(HALVES)
        monkeypatch.chdir(tmp_path)
        return "./halves.py:Halves"

    def test_they_act_in_every_run_of_their_row(self, tiny: Path, tmp_path: Path, halves: str) -> None:
        plan = fair(tiny, "constant(value=0.05)", f"constant(value=0.05) + {halves}")
        comparison = compare_plan(plan, directory=tmp_path / "c")
        alone, observed = (row.label for row in plan.rows)
        assert (alone, observed) == ("constant", "constant + halves")
        for outcome in comparison.measured(observed):
            run = Store(comparison.directory).place(plan, outcome.trial)
            rates = np.loadtxt(run / "steps.csv", delimiter=",", skiprows=1)[:, 2]
            steps = len(rates) // 2
            np.testing.assert_allclose(rates[steps:], rates[:steps] / 2)
            plugins = json.loads((run / "config.json").read_text())["plugins"]
            assert [Path(plugin["plugin"]).name for plugin in plugins] == ["constant", "halves.py:Halves"]
        (pair,) = comparison.evidence.differences
        assert {pair.first, pair.second} == {alone, observed}
        assert Plan.from_json(plan.to_json()) == plan

    def test_in_a_file(self, halves: str) -> None:
        plan = parse_plan(
            f"[[schedules]]\nplugin = 'constant'\n\n[[schedules]]\nplugin = 'constant'\nwith = ['{halves}']\n", "t.toml"
        )
        assert [row.label for row in plan.rows] == ["constant", "constant + halves"]
        assert [spec.name.rsplit("/")[-1] for spec in plan.rows[1].specs] == ["constant", "halves.py:Halves"]
        with pytest.raises(UsageError, match=r"t.toml, line 3: with = 'greedy' is refused: expected a list of plugins"):
            parse_plan("[[schedules]]\nplugin = 'constant'\nwith = 'greedy'\n", "t.toml")

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("reduce-on-plateau", "reduce-on-plateau builds no schedule, so there is nothing to tune: name one first"),
            ("reduce-on-plateau + constant", "name one first, as in 'constant + reduce-on-plateau'"),
            ("constant + sgdr", "plugins constant and sgdr both build a schedule"),
            ("constant + constant", "plugin 'constant' is named twice"),
            ("constant +", "''"),
        ],
    )  # fmt: skip
    def test_what_is_refused(self, spec: str, message: str) -> None:
        assert message in refusal(cli("compare", "--plugin", "constant", "--plugin", spec))


def test_a_comparison_is_shown_as_a_table(tiny: Path, tmp_path: Path) -> None:
    comparison = compare_plan(fair(tiny, "constant(value=0.05)", "linear(init_value=0.1)"), directory=tmp_path / "c")
    lines = repr(comparison).splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["schedule", "constant", "linear"]
    assert lines[3:] == verdict(comparison.evidence)
    assert comparison._repr_html_().startswith("<table><thead>")
    assert comparison._repr_html_().count("<tr>") == 3


def test_the_table_in_other_formats(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    comparison = compare_plan(fair(tiny, "constant(value=0.05)", "linear(init_value=0.1)"), directory=tmp_path / "a_b")
    printed = done(cli("report", "a_b", "--to", "csv"))
    rows = list(csv.reader(printed.splitlines()))
    assert rows[0] == comparison.table.titles
    assert rows[1:] == [[cell.text for cell in row] for row in comparison.table.rows]
    assert "report.html" not in {path.name for path in (tmp_path / "a_b").iterdir()}
    assert "table.tex" in done(cli("report", "a_b", "--to", "latex", "--output", "table.tex"))
    text = (tmp_path / "table.tex").read_text()
    assert text.startswith("\\begin{tabular}{lr")
    assert r"95\% interval" in text
    assert text.count(r" \\") == 3
    assert "is there already" in refusal(cli("report", "a_b", "--to", "latex", "--output", "table.tex"))
    runs = list(csv.reader(done(cli("report", "a_b/runs", "--to", "csv")).splitlines()))
    assert len(runs) == 1 + len(comparison.outcomes)


def test_the_command_that_trains_a_schedule_alone_is_the_setting_that_was_measured(tiny: Path, tmp_path: Path) -> None:
    """Learning rates and examples are those of the run, to the bit of the table."""
    plan = fair(tiny, "constant(value=0.05)", "linear(init_value=0.1)")
    comparison = compare_plan(plan, directory=tmp_path / "c")
    (section,) = (each for each in page_of_comparison(comparison, {}).schedules if each.label == "linear")
    ((_, whole), (remark, command)) = section.commands
    assert whole.startswith("lrtrain compare --plugin ")
    assert "with the learning rates that were measured" in remark
    done(cli(*shlex.split(command)[1:], "--run-dir", tmp_path / "alone", "--devices", 1, "--quiet"))
    measured = comparison.measured("linear")[0]
    run = Store(comparison.directory).place(plan, measured.trial)
    ours, theirs = (np.loadtxt(path / "steps.csv", delimiter=",", skiprows=1) for path in (run, tmp_path / "alone"))
    np.testing.assert_allclose(ours[:, 2], theirs[:, 2], rtol=1e-6)
    values = json.loads((tmp_path / "alone" / "config.json").read_text())
    assert values["train"]["holdout"] == 20
    assert values["data"] == json.loads((run / "config.json").read_text())["data"]


def test_options_that_scale_a_schedule() -> None:
    spec = Spec.of("linear(init_value=0.1)")
    scaled = at_scale(spec, (), 0.5)
    assert scaled is not None
    assert scaled.options["init_value"] == 0.05
    # The learning rates of what it joins are not among its own options.
    joined = Spec.of("join(schedules=[constant(value=1), constant(value=2)], boundaries=[50%])")
    assert at_scale(joined, (), 0.5) is None
    assert at_scale(Spec.of("nobody"), (), 0.5) is None
