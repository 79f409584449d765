"""The command line: what is listed and shown, what goes where, and one sentence for whatever is wrong."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from lrtrain import EpochInfo, RunResult, UsageError
from lrtrain.cli import main
from lrtrain.plugins.spec import parse_spec, parse_value
from tests import lab
from tests.lab import cli, completed, process

Install = Callable[..., str]

SCHEDULES = [
    "constant",
    "cosine-decay",
    "cosine-onecycle",
    "cyclic",
    "exponential-decay",
    "infinite",
    "inverse-sqrt",
    "join",
    "k-decay",
    "linear",
    "linear-onecycle",
    "multistep",
    "noam",
    "piecewise-constant",
    "piecewise-interpolate",
    "polynomial",
    "power",
    "rex",
    "sgdr",
    "warmup-constant",
    "warmup-cosine-decay",
    "warmup-exponential-decay",
    "wsd",
]
OBSERVERS = ["early-stopping", "greedy", "mlflow", "reduce-on-plateau", "tensorboard"]
PLUGINS = sorted([*SCHEDULES, *OBSERVERS])
COMMANDS = ["train", "compare", "report", "verdict", "plot", "export", "find-lr", "evaluate", "predict"]
COMMANDS += ["plugins", "workloads", "runs", "doctor", "completion"]
SCRIPTS = Path(sys.executable).parent


def done(*arguments: str) -> str:
    return lab.done(cli(*arguments))


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


# ------------------------------------------------------------------------------------------------------ the front door


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], []])
def test_help(arguments: list[str]) -> None:
    text = done(*arguments)
    assert text.startswith("Usage: lrtrain [OPTIONS] COMMAND [ARGS]...\n")
    assert re.findall(r"^  ([a-z][a-z-]+)  ", text, re.MULTILINE) == COMMANDS


@pytest.mark.parametrize(
    "command", [["train"], ["plot"], ["find-lr"], ["plugins"], ["plugins", "list"], ["plugins", "show"], ["completion"]]
)
def test_help_of_each_command(command: list[str]) -> None:
    text = done(*command, "--help")
    assert text == done(*command, "-h")
    assert text.startswith(f"Usage: lrtrain {' '.join(command)} ")
    assert max(map(len, text.splitlines())) <= 100


def test_version() -> None:
    assert done("--version") == f"lrtrain {importlib.metadata.version('lrtrain')}\n"


def test_as_a_module() -> None:
    result = process("--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == done("--version")
    assert process("plot").stderr.endswith("'python -m lrtrain plot --help' lists what can be given.\n")


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("plugin", " (did you mean 'plugins'?)"), ("trian", " (did you mean 'train'?)"), ("sgdr", ""), ("list", "")],
)
def test_unknown_command(word: str, nearest: str) -> None:
    result = cli(word, "--plugin", "sgdr")
    commands = ", ".join(COMMANDS)
    known = f"the commands are {commands}, and a plugin is named with --plugin"
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[0] == f"Error: no command '{word}'{nearest}; {known}"


@pytest.mark.parametrize(
    "command",
    [
        ["report"],
        ["runs", "list", "--dir"],
        ["runs", "list", "--dir=."],
        ["train", "--plugin", "constant", "--run-dir"],
        ["compare", "--plugin", "constant", "--plugin", "sgdr", "--run-dir"],
    ],
)
def test_a_path_that_no_system_takes(command: list[str]) -> None:
    name = "x" * 300
    words = [*command[:-1], f"{command[-1]}/{name}"] if command[-1].endswith("=.") else [*command, name]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    said = re.fullmatch(r"Error: (.+) cannot be looked at \((.+)\): give another path\n", result.stderr)
    assert said is not None, result.stderr
    assert len(said[1]) <= 60
    assert said[2] == os.strerror(errno.ENAMETOOLONG)
    assert not list(Path().iterdir())


def test_a_path_that_is_not_for_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refused)
    result = CliRunner().invoke(main, ["runs", "list", "--dir", "theirs"])
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: theirs cannot be looked at (Permission denied): give another path\n",
    )


def test_a_path_of_our_own_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/nowhere")

    monkeypatch.setattr(Path, "is_dir", refused)
    assert isinstance(CliRunner().invoke(main, ["runs", "list", "--dir", "theirs"]).exception, PermissionError)


def test_no_more_files_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files", "/nowhere")

    monkeypatch.setattr(Path, "is_dir", refused)
    result = CliRunner().invoke(main, ["runs", "list", "--dir", "theirs"])
    said = "/nowhere could not be opened (Too many open files): allow more, as with `ulimit -n 1024`"
    assert (result.exit_code, result.stderr) == (1, f"Error: {said}\n")


def test_unknown_command_of_plugins() -> None:
    result = cli("plugins", "shwo")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: No such command 'shwo'.")


# ------------------------------------------------------------------------------------------------------------- train


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Puts a recorder in the place of `train`."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def train(*plugins: Any, reporter: Any, **options: Any) -> RunResult:
        calls.append((plugins, options))
        history = tuple(EpochInfo(each, 5 * each + 5, 1.0, 1.0, 0.9 - each / 10, 0.1, 1.0) for each in range(2))
        return RunResult(Path("runs/a").absolute(), history, 0.8, 1.25, np.zeros(10, np.float32), 10, 75.0, None)

    monkeypatch.setattr("lrtrain.training.train.train", train)
    return calls


NOTHING = {
    "settings": (),
    "run_dir": None,
    "resume": False,
    "on_schedule_change": None,
    "accept_code_change": False,
    "checkpoint_every": None,
    "distributed": None,
}


@pytest.mark.parametrize("command", [[], ["train"]])
def test_train_is_the_default_command(trained: list[Any], command: list[str]) -> None:
    done(*command, "--plugin", "sgdr", "--plugin", "watch(limit=3)", "--set", "cycles=4", "--set", "watch.a=1")
    assert trained == [(("sgdr", "watch(limit=3)"), {**NOTHING, "settings": ("cycles=4", "watch.a=1")})]


def test_only_the_options_given_are_passed_on(trained: list[Any]) -> None:
    everything = (
        "--epochs 3 --batch-size 32 --optimizer adam --loss-reduction mean --seed 5 --dataset mnist --data-dir d "
        "--train-size 100 --no-shuffle --model a:B --devices 2 --micro-batch 8"
    )
    done("--plugin", "sgdr", *everything.split())
    done("--resume", "--run-dir", "runs/a", "--on-schedule-change", "keep", "--epochs", "10", "--quiet")
    (_, first), (plugins, second) = trained
    assert first == NOTHING | {
        "epochs": 3,
        "batch_size": 32,
        "optimizer": "adam",
        "loss_reduction": "mean",
        "seed": 5,
        "dataset": "mnist",
        "data_dir": Path("d"),
        "train_size": 100,
        "shuffle": False,
        "model": "a:B",
        "devices": 2,
        "micro_batch": 8,
    }
    assert plugins == ()
    resumed = {"run_dir": Path("runs/a"), "resume": True, "on_schedule_change": "keep", "epochs": 10}
    assert second == NOTHING | resumed


def test_the_summary(trained: list[Any]) -> None:
    lines = done("--plugin", "sgdr").splitlines()
    assert lines[0] == "test accuracy 0.8000 (best 0.9000), test loss 1.2500, after 10 steps in 1 min 15 s"
    assert [line.split()[:2] for line in lines[1:]] == [
        ["run", "runs/a"],
        ["metrics", "runs/a/metrics.jsonl"],
        ["steps", "runs/a/steps.csv"],
        ["picture", "runs/a/learning_rate.png"],
        ["checkpoints", "runs/a/checkpoints"],
    ]


# ------------------------------------------------------------------------------------------------------ plugins list


def test_plugins_list() -> None:
    text = done("plugins", "list")
    assert text == done("plugins")
    header, *lines = text.splitlines()
    assert header.split() == ["name", "distribution", "version", "summary"]
    assert [line.split()[0] for line in lines] == PLUGINS
    for line in lines:
        name, distribution, version, summary = re.split(r" {2,}", line)
        metadata = importlib.metadata.metadata(f"lrtrain-{name}")
        assert [distribution, version, summary] == [metadata["Name"], metadata["Version"], metadata["Summary"]]


def test_plugins_list_as_json() -> None:
    rows = json.loads(done("plugins", "list", "--json"))
    assert [row["name"] for row in rows] == PLUGINS
    assert [list(row) for row in rows] == [["name", "distribution", "version", "summary", "duplicate"]] * len(PLUGINS)
    assert not any(row["duplicate"] for row in rows)


def test_plugins_list_with_nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrtrain.cli.plugins.group.find_plugins", lambda: ())
    assert done("plugins") == "no plugin is installed: pip install 'lrtrain[all]' installs those of lrtrain\n"
    assert json.loads(done("plugins", "list", "--json")) == []


GOOD = """
@dataclass(frozen=True)
class Plugin:
    '''Watches.'''
    @hookimpl
    def on_step(self, step): ...
    @hookimpl
    def on_epoch_end(self, history): ...
"""


def test_plugins_list_marks_duplicates_and_broken_ones(install_plugin: Install) -> None:
    install_plugin("watch", GOOD)
    install_plugin("broken", "raise ValueError('no\\nway')")
    install_plugin("sgdr", GOOD, distribution="another-sgdr")
    lines = done("plugins", "list").splitlines()
    assert [line.split()[0] for line in lines[1:]] == sorted([*PLUGINS, "watch", "broken", "sgdr"])
    twice = [re.split(r" {2,}", line)[:2] for line in lines if line.startswith("sgdr")]
    assert twice == [["sgdr (duplicate)", "another-sgdr"], ["sgdr (duplicate)", "lrtrain-sgdr"]]
    rows = {row["distribution"]: row for row in json.loads(done("plugins", "list", "--load", "--json"))}
    assert [name for name, row in rows.items() if row["duplicate"]] == ["another-sgdr", "lrtrain-sgdr"]
    assert (rows["test-watch"]["hooks"], rows["test-watch"]["error"]) == (["on_step", "on_epoch_end"], None)
    assert (rows["lrtrain-sgdr"]["hooks"], rows["lrtrain-sgdr"]["error"]) == (["build_schedule"], None)
    assert rows["test-broken"]["hooks"] == []
    assert rows["test-broken"]["error"].startswith("plugin 'broken' of test-broken 1.0 fails to import: ValueError: no")
    loaded = done("plugins", "list", "--load").splitlines()
    assert loaded[0].split() == ["name", "distribution", "version", "hooks", "summary"]
    (broken,) = (line for line in loaded if line.startswith("broken"))
    assert re.split(r" {2,}", broken)[3] == "(broken)"
    assert rows["test-broken"]["error"] in broken


# ------------------------------------------------------------------------------------------------------ plugins show


@pytest.mark.parametrize("name", SCHEDULES)
def test_plugins_show_as_json(name: str) -> None:
    shown = json.loads(done("plugins", "show", name, "--json"))
    assert (shown["name"], shown["distribution"], shown["hooks"]) == (name, f"lrtrain-{name}", ["build_schedule"])
    assert len(shown["documentation"]) > 100
    assert shown["options"], "every schedule has options"
    for option in shown["options"]:
        assert option["type"]
        assert option["doc"]
        parse_value(option["default"])
    command = shlex.split(shown["example"])
    assert command[:2] == ["lrtrain", "--plugin"]
    assert parse_spec(command[2]).name == name
    assert (shown["curve"]["steps"], len(shown["curve"]["learning_rates"]), shown["no_curve"]) == (2350, 2350, None)
    assert all(rate >= 0 for rate in shown["curve"]["learning_rates"])


def test_the_curve_is_the_table() -> None:
    rates = json.loads(done("plugins", "show", "wsd", "--json"))["curve"]["learning_rates"]
    steps = np.arange(2350)
    expected = 3e-4 * np.minimum(steps / 235, 1) * (1 - np.sqrt(np.maximum(steps - 1880, 0) / 470))
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-10)


def test_the_example_runs(trained: list[Any]) -> None:
    _, *arguments = shlex.split(json.loads(done("plugins", "show", "wsd", "--json"))["example"])
    done(*arguments)
    assert trained == [(("wsd(init_value=0.0)",), {**NOTHING, "epochs": 3})]


def test_plugins_show() -> None:
    text = done("plugins", "show", "WSD")
    lines = text.splitlines()
    assert lines[0] == f"wsd  (lrtrain-wsd {importlib.metadata.version('lrtrain-wsd')}; hooks: build_schedule)"
    assert lines[2].startswith("Linear warmup, a long constant phase")
    table = lines[lines.index(next(line for line in lines if line.startswith("option "))) :]
    assert table[0].split() == ["option", "type", "default", "meaning"]
    assert re.split(r" {2,}", table[2]) == [
        "peak_value",
        "number >= 0",
        "0.0003",
        "learning rate of the constant phase",
    ]
    assert re.split(r" {2,}", table[4])[:3] == ["warmup_steps", "duration", "10%"]
    assert "\nExample\n  lrtrain --plugin 'wsd(init_value=0.0)' --epochs 3\n" in text
    assert "\nLearning rate over 10 epochs of 235 steps, with the defaults\n" in text
    assert "step 2349\n" in text
    assert "━━ wsd  (first 0, highest 0.0003, last 3.19e-07)" in text


def test_plugins_show_of_an_observer(install_plugin: Install) -> None:
    install_plugin("watch", GOOD)
    assert done("plugins", "show", "watch").splitlines() == [
        "watch  (test-watch 1.0; hooks: on_step, on_epoch_end)",
        "",
        "Watches.",
        "",
        "Example",
        "  lrtrain --plugin watch --epochs 3",
        "",
    ]
    shown = json.loads(done("plugins", "show", "watch", "--json"))
    assert (shown["options"], shown["curve"], shown["no_curve"]) == ([], None, "it builds no schedule")


REQUIRED = """
from typing import Annotated
@dataclass(frozen=True)
class Plugin:
    gamma: Annotated[float, Doc("a factor")]
    mode: str = "it's"
    @hookimpl
    def build_schedule(self, context):
        return lambda step: self.gamma
"""


def test_plugins_show_of_one_with_a_required_option(install_plugin: Install) -> None:
    install_plugin("needs", REQUIRED)
    text = done("plugins", "show", "needs")
    assert "gamma   number  (required)  a factor\n" in text
    assert "\n(no documentation)\n" in text
    assert "\n  lrtrain --plugin 'needs(gamma=...)' --epochs 3\n" in text
    reason = "plugin 'needs' needs its option 'gamma' (a factor): give gamma=..."
    assert text.endswith(f"No curve with the defaults: {reason}\n")
    shown = json.loads(done("plugins", "show", "needs", "--json"))
    assert (shown["curve"], shown["no_curve"]) == (None, reason)
    assert parse_value(shown["options"][1]["default"]) == "it's"


def test_the_example_is_quoted_for_a_shell(install_plugin: Install) -> None:
    install_plugin("quoted", REQUIRED.replace('    gamma: Annotated[float, Doc("a factor")]\n', ""))
    (_, flag, spec, *_) = shlex.split(json.loads(done("plugins", "show", "quoted", "--json"))["example"])
    assert (flag, spec) == ("--plugin", 'quoted(mode="it\'s")')


# --------------------------------------------------------------------------------------------------------- completion


@pytest.mark.parametrize(
    ("words", "at", "expected"),
    [
        ("lrtrain ", 1, COMMANDS),
        ("lrtrain pl", 1, ["plot", "plugins"]),
        ("lrtrain --plugin co", 2, ["constant", "cosine-decay", "cosine-onecycle"]),
        ("lrtrain train --plugin sgdr --plugin w", 5, [name for name in PLUGINS if name.startswith("w")]),
        ("lrtrain plot --plugin ", 3, PLUGINS),
        ("lrtrain plugins show li", 3, ["linear", "linear-onecycle"]),
        ("lrtrain plugins ", 2, ["check", "install", "list", "new", "show", "uninstall"]),
        ("lrtrain --plugin sgdr --opt", 3, ["--optimizer"]),
        ("lrtrain --plugin sgdr --optimizer ada", 4, ["adagrad", "adam", "adamw"]),
        ("lrtrain completion ", 2, ["bash", "zsh", "fish"]),
    ],
)
def test_completion(words: str, at: int, expected: list[str]) -> None:
    assert completed(words, at) == expected


@pytest.mark.parametrize(
    ("shell", "part"),
    [("bash", "complete -o nosort -F _lrtrain_completion lrtrain"), ("zsh", "#compdef lrtrain"), ("fish", "complete ")],
)
def test_completion_scripts(shell: str, part: str) -> None:
    script = done("completion", shell)
    assert part in script
    assert "_LRTRAIN_COMPLETE" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.skipif(not (shutil.which("bash") and (SCRIPTS / "lrtrain").exists()), reason="needs bash and the command")
def test_completion_in_bash() -> None:
    script = """
    eval "$(lrtrain completion bash)"
    COMP_WORDS=(lrtrain --plugin sgd) COMP_CWORD=2
    _lrtrain_completion lrtrain
    echo "${COMPREPLY[@]}"
    """
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env={**os.environ, "PATH": path}
    )
    assert result.stdout == "sgdr\n"


# ------------------------------------------------------------------------------------------------------------ bad input

BUILDS = """
@dataclass(frozen=True)
class Plugin:
    value: LearningRate = 0.1
    @hookimpl
    def build_schedule(self, context):
        return lambda step: self.value
"""
MISSPELT = "@dataclass(frozen=True)\nclass Plugin:\n    @hookimpl\n    def on_stop(self, step): ...\n"
SGDR = "it has cycles, init_value, peak_value, end_value, decay_steps, warmup_steps, cycle_mult, peak_decay"
INSTALLED = ", ".join(sorted([*PLUGINS, "broken", "mine", "misspelt", "watch"]))
ALL = f"installed are {INSTALLED}; others are installed with pip"

BAD = {
    # Plugins.
    "--plugin sgrd": f"no plugin 'sgrd' is installed (did you mean 'sgdr'?); {ALL}",
    "--plugin zzz": f"no plugin 'zzz' is installed; {ALL}",
    "--plugin broken": "plugin 'broken' of test-broken 1.0 fails to import: ValueError: no ...",
    "--plugin misspelt": "plugin 'misspelt' of test-misspelt 1.0 has a hook 'on_stop' that does not exist ...",
    "--plugin sgdr --plugin mine": "plugins sgdr and mine both build a schedule, and a run has one: name only one ...",
    "--plugin watch": "no plugin named builds a schedule (watch): add one, as in --plugin sgdr",
    "--plugin sgdr --plugin SGDR": "plugin 'sgdr' is named twice: name it once, with all its options",
    # Specs and options.
    "--plugin sgdr(cycles=4": "cannot read 'sgdr(cycles=4': expected ',' or ')' after cycles=4 at character 14, ...",
    "--plugin sgdr(cycels=4)": f"plugin 'sgdr' has no option 'cycels' (did you mean 'cycles'?); {SGDR}",
    "--plugin sgdr(cycles=four)": "plugin 'sgdr': cycles=four is refused: expected whole number >= 1",
    "--plugin sgdr(cycles=2.5)": "plugin 'sgdr': cycles=2.5 is refused: expected whole number >= 1",
    "--plugin mine(value=-1)": "plugin 'mine': value=-1 is refused: expected number >= 0",
    "--plugin mine(value=1e999)": "plugin 'mine': value=1e999 is refused: expected number >= 0, and finite",
    "--plugin mine(value=nan)": "plugin 'mine': value=nan is refused: expected number >= 0",
    "--plugin sgdr(decay_steps=150%)": (
        "plugin 'sgdr': decay_steps=150% is refused: '150%' is more than the whole run: a share is at most 100%"
    ),
    "--plugin sgdr(decay_steps=-5)": "plugin 'sgdr': decay_steps=-5 is refused: '-5' is not a duration: ...",
    "--plugin sgdr --set cycels=4": f"plugin 'sgdr' has no option 'cycels' (did you mean 'cycles'?); {SGDR}",
    "--plugin sgdr --set cycles": "--set cycles cannot be read: write --set NAME=VALUE or --set PLUGIN.NAME=VALUE",
    "--plugin sgdr --set sgd.cycles=4": (
        "--set sgd.cycles=4: plugin 'sgd' is not named (did you mean 'sgdr'?); add --plugin sgd"
    ),
    "--plugin sgdr(cycles=4) --set cycles=5": "--set cycles=5: cycles of 'sgdr' is given twice",
    # The run.
    "--plugin sgdr --epochs 0": "epochs=0 is refused: expected a whole number from 1 to 1000000",
    "--plugin sgdr --batch-size 0": "batch_size=0 is refused: expected a whole number, at least 1",
    "--plugin sgdr --batch-size -5": "batch_size=-5 is refused: expected a whole number, at least 1",
    "--plugin sgdr --train-size 0": "train_size=0 is refused: expected a whole number, at least 1",
    "--plugin sgdr --devices 0": "devices=0 is refused: expected a whole number, at least 1",
    "--plugin sgdr --micro-batch 0": "micro_batch=0 is refused: expected a whole number, at least 1",
    "--plugin sgdr --seed -1": "seed=-1 is refused: expected a whole number from 0 to 4294967295",
    "--plugin sgdr --seed 4294967296": "seed=4294967296 is refused: expected a whole number from 0 to 4294967295",
    "--plugin sgdr --run-dir full": "full is not empty: give another --run-dir (nothing in it is overwritten)",
    "--resume": "--resume needs --run-dir DIR: the directory of the run to continue",
    # Other commands.
    "plugins show sgrd": f"no plugin 'sgrd' is installed (did you mean 'sgdr'?); {ALL}",
    "plugins show broken": "plugin 'broken' of test-broken 1.0 fails to import: ValueError: no ...",
    "plot --plugin watch": "no plugin named builds a schedule (watch): add one, as in --plugin sgdr",
    "plot --plugin mine --steps 3 --output a.gif": "--output a.gif: expected a name that ends in .png, .svg, .csv",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_one_sentence(line: str, install_plugin: Install) -> None:
    install_plugin("mine", BUILDS)
    install_plugin("broken", "raise ValueError('no\\nway')")
    install_plugin("misspelt", MISSPELT)
    install_plugin("watch", GOOD)
    Path("full").mkdir()
    Path("full/kept").write_text("kept")
    result = cli(*shlex.split(line))
    beginning, *rest = BAD[line].split(" ...")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {beginning}" if rest else f"Error: {beginning}\n")
    assert result.stderr.index("\n") == len(result.stderr) - 1, "one line"
    assert [path.name for path in Path().rglob("*")] == ["full", "kept"], "nothing is written"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train", "no plugin was named: add one, as in --plugin sgdr ('lrtrain plugins list' shows them)"),
        ("--epochs 3", "no plugin was named: add one, as in --plugin sgdr ('lrtrain plugins list' shows them)"),
        ("--plugin sgdr --epochs x", "Invalid value for '--epochs': 'x' is not a valid integer."),
        ("--plugin sgdr --epoch 3", "No such option"),
        ("--plugin sgdr extra", "Got unexpected extra argument (extra)"),
        ("plugins show", "Missing argument 'NAME'."),
        ("completion", "Missing argument 'SHELL'. Choose from: bash, zsh, fish"),
        ("completion tcsh", "Invalid value for 'SHELL': 'tcsh' is not one of 'bash', 'zsh', 'fish'."),
    ],
)
def test_a_command_that_is_misused(line: str, message: str) -> None:
    result = cli(*shlex.split(line))
    first, second = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (2, "")
    assert first.startswith(f"Error: {message}")
    assert re.fullmatch(r"'lrtrain [a-z ]+ --help' lists what can be given\.", second)


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*arguments: Any, **options: Any) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("lrtrain.training.train.train", train)
    result = cli("--plugin", "sgdr")
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize("error", [KeyboardInterrupt, click.Abort])
def test_interrupted(monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    def train(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr("lrtrain.training.train.train", train)
    result = cli("--plugin", "sgdr", "--quiet")
    assert result.exit_code == 130
    # A terminal shows ^C where the cursor stands.
    assert result.stderr.lstrip("\n").startswith("Error: interrupted")
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_message_of_several_lines_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*arguments: Any, **options: Any) -> None:
        raise UsageError("first\n  second")

    monkeypatch.setattr("lrtrain.training.train.train", train)
    assert cli("--plugin", "sgdr").stderr == "Error: first second\n"


def test_the_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, traced = process("--plugin", "sgrd"), process("--plugin", "sgrd", LRTRAIN_TRACEBACK="1")
    assert plain.returncode == 2
    assert plain.stderr.startswith("Error: no plugin 'sgrd' is installed (did you mean 'sgdr'?); ")
    assert len(plain.stderr.splitlines()) == 1
    assert traced.returncode == 1
    assert traced.stderr.startswith("Traceback (most recent call last):\n")
    assert "lrtrain.errors.PluginError: no plugin 'sgrd' is installed" in traced.stderr


def test_a_reader_that_has_gone() -> None:
    command = [sys.executable, "-m", "lrtrain", "plugins", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        assert writer.stderr
        writer.stdout.close()
        assert writer.stderr.read() == ""
        assert writer.wait(60) == 1
