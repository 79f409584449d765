"""Plugins that do what they should not: one sentence that names them, results untouched, and a run that is not lost."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from lrtrain import EpochInfo, RunInfo, StepInfo, Stop, signals
from lrtrain.cli import main
from lrtrain.errors import LrtrainError, TrainingError
from lrtrain.plugins import hookspecs
from lrtrain.plugins.hookspecs import HookDeprecationWarning, deprecated, hookspec
from lrtrain.plugins.loading import activate
from lrtrain.plugins.observers import Observers
from lrtrain.schedules.table import build_table, formula, make_context
from tests import lab

Install = Callable[..., str]

RUN = RunInfo(Path("run"), {}, 10, 5, 2, ())

BUILDING = """
@dataclass(frozen=True)
class Plugin:
    '''Builds.'''
    value: float = 1e-3
    @hookimpl
    def build_schedule(self, context):
        {body}
"""
WATCHING = """
@dataclass(frozen=True)
class Plugin:
    '''Watches.'''
    @hookimpl
    def {hook}(self, {arguments}):
        {body}
"""


def process(site: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return lab.process(*arguments, cwd=site, PYTHONPATH=str(site / "site"), **environment)


# ----------------------------------------------------------------------------------------------------- build_schedule

SCHEDULES = {
    "raise ValueError('no\\nway')": "plugin 'bad' cannot build its schedule: ValueError: no",
    "import sys; sys.exit(3)": "plugin 'bad' cannot build its schedule: SystemExit: 3",
    "return None": "plugin 'bad' built None: a schedule is a callable from the step to the learning rate",
    "return 0.1": "plugin 'bad' built 0.1: a schedule is a callable",
    "import numpy; return numpy.ones(3)": "plugin 'bad' built array([1., 1., 1.]): a schedule is a callable",
    "return lambda step: float('nan') if step == 2 else 1.0": "'bad' gives nan at step 2: a learning rate is finite",
    "import jax.numpy as j; return lambda s: j.where(s == 2, j.nan, 1.0)": "'bad' gives nan at step 2: a learning rate",
    "import sys; return lambda step: sys.exit(3)": "the schedule of plugin 'bad' fails at step 0: SystemExit: 3",
    "return lambda step: [1.0, 2.0]": "'bad' gives an array of shape (2,) at a step: expected a number",
}


@pytest.mark.parametrize("body", SCHEDULES)
def test_a_schedule_that_no_run_can_use(install_plugin: Install, body: str) -> None:
    install_plugin("bad", BUILDING.format(body=body))
    with pytest.raises(LrtrainError) as caught:
        build_table(activate(["bad"]), make_context(10, 5))
    assert SCHEDULES[body] in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import sys; sys.exit(0)", "plugin 'bad' of test-bad 1.0 fails to import: SystemExit: 0"),
        (
            BUILDING.format(body="...") + "    def __post_init__(self): raise SystemExit(0)\n",
            "plugin 'bad' fails with these options: SystemExit: 0",
        ),
        (BUILDING.format(body="import sys; sys.exit(0)"), "plugin 'bad' cannot build its schedule: SystemExit: 0"),
    ],
    ids=["import", "options", "build_schedule"],
)
def test_sys_exit_is_a_sentence_and_no_success(install_plugin: Install, tmp_path: Path, source: str, said: str) -> None:
    install_plugin("bad", source)
    done = process(tmp_path, "plot", "--plugin", "bad", "--steps", "10")
    assert said in lab.refusal(done)


def test_sys_exit_in_a_hook(install_plugin: Install) -> None:
    body = "import sys; sys.exit(0)"
    install_plugin("bad", WATCHING.format(hook="on_step", arguments="step", body=body))
    with pytest.raises(TrainingError, match=r"^plugin 'bad' raised in on_step at step 7: SystemExit: 0$"):
        Observers(activate(["bad"])).step(RUN, StepInfo(7, 0, 0.1, 1.0))


def test_a_sentence_of_lrtrains_own_in_a_hook_names_the_plugin(install_plugin: Install) -> None:
    body = "import lrtrain; lrtrain.schedule('sgrd', total_steps=5)"
    install_plugin("bad", WATCHING.format(hook="on_step", arguments="step", body=body))
    with pytest.raises(TrainingError, match=r"^plugin 'bad' raised in on_step at step 7: no plugin 'sgrd' is inst"):
        Observers(activate(["bad"])).step(RUN, StepInfo(7, 0, 0.1, 1.0))


# ------------------------------------------------------------------------------------------------------------ printing

PRINTING = "print('imported')\n" + BUILDING.format(
    body="print('built'); return lambda step: (print('called'), self.value)[1]"
)


def test_what_a_plugin_prints_is_not_among_the_results(install_plugin: Install) -> None:
    install_plugin("loud", PRINTING)
    shown = CliRunner().invoke(main, ["plugins", "show", "loud", "--json"])
    assert json.loads(shown.stdout)["name"] == "loud"
    assert {"imported", "built", "called"} <= set(shown.stderr.split())
    listed = CliRunner().invoke(main, ["plugins", "list", "--load", "--json"])
    assert "loud" in {row["name"] for row in json.loads(listed.stdout)}


def test_what_an_observer_prints(install_plugin: Install, capsys: pytest.CaptureFixture[str]) -> None:
    body = "print('watching'); return Stop('seen')"
    install_plugin("loud", WATCHING.format(hook="on_step", arguments="step", body=body))
    Observers(activate(["loud"])).step(RUN, StepInfo(7, 0, 0.1, 1.0))
    assert tuple(capsys.readouterr()) == ("", "watching\n")


# ------------------------------------------------------------------------------------------------------------ changing


@pytest.mark.parametrize(
    "body",
    ["rates[:] = 0", "rates.setflags(write=True)", "rates.base[0] = 0", "rates.view('uint8')[0] = 1", "rates.sort()"],
)
def test_an_observer_cannot_change_the_learning_rates(install_plugin: Install, body: str) -> None:
    install_plugin("bad", WATCHING.format(hook="on_step", arguments="run", body=f"rates = run.learning_rates; {body}"))
    rates = np.array([0.3, 0.2, 0.1], np.float32)
    run = RunInfo(Path("run"), {}, 3, 3, 1, rates)
    with pytest.raises(TrainingError, match=r"^plugin 'bad' raised in on_step at step 7: (Value|Type)Error: "):
        Observers(activate(["bad"])).step(run, StepInfo(7, 0, 0.1, 1.0))
    np.testing.assert_array_equal(rates, np.array([0.3, 0.2, 0.1], np.float32))


def test_what_an_observer_does_to_the_configuration_stays_with_it(install_plugin: Install) -> None:
    body = "run.config['train']['batch_size'] = 7; run.config.clear(); return Stop(f'{run.learning_rates[1]:g}')"
    install_plugin("bad", WATCHING.format(hook="on_step", arguments="run", body=body))
    config = {"train": {"batch_size": 5}}
    run = RunInfo(Path("run"), config, 3, 3, 1, np.array([0.3, 0.2, 0.1], np.float32))
    assert Observers(activate(["bad"])).step(run, StepInfo(7, 0, 0.1, 1.0)).stop == "bad: 0.2"
    assert config == {"train": {"batch_size": 5}}


# ------------------------------------------------------------------------------------------------------------- signals

DEAF = """
import signal, sys

def deaf(answer=None):
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
    except ValueError:
        assert "other thread" in sys.argv
    return answer

{importing}

@dataclass(frozen=True)
class Plugin:
    "Ignores signals."
    def __post_init__(self):
        {making}
    @hookimpl
    def build_schedule(self, context):
        {building}
        return {schedule}
    def formula(self, context):
        return {formula}
    @hookimpl
    def on_step(self, step):
        {step}
    @hookimpl
    def on_epoch_end(self, epoch):
        {epoch}
"""
QUIET = {"schedule": "lambda step: 1e-3", "formula": "None", "importing": ""}
DEAFENING = {
    "importing": "deaf()",
    "making": "deaf()",
    "building": "deaf()",
    "schedule": "lambda step: deaf(1e-3)",
    "formula": "deaf()",
    "step": "deaf()",
    "epoch": "deaf()",
}


def all_calls() -> None:
    active, context = activate(["deaf"]), make_context(4, 2)
    build_table(active, context)
    formula(active, context)
    Observers(active).step(RUN, StepInfo(0, 0, 0.1, 1.0))
    epoch = EpochInfo(0, 2, 1.0, 1.0, 0.5, 0.1, 1.0)
    Observers(active).epoch_end(RUN, epoch, [epoch])


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Returns what Python writes signals to, as in a command."""
    monkeypatch.setattr(signals.PROCESS, "wakeup", None)
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours, theirs:
        signals.wakes_up(theirs.fileno())
        yield theirs.fileno()
        signal.set_wakeup_fd(-1)


@pytest.mark.parametrize("place", DEAFENING)
def test_a_plugin_that_ignores_signals_does_so_for_one_call(install_plugin: Install, watched: int, place: str) -> None:
    places = dict.fromkeys(("making", "building", "step", "epoch"), "pass")
    install_plugin("deaf", DEAF.format(**{**places, **QUIET, place: DEAFENING[place]}))
    before = [signal.getsignal(number) for number in signals.SIGNALS]
    all_calls()
    assert [signal.getsignal(number) for number in signals.SIGNALS] == before
    assert signal.set_wakeup_fd(watched) == watched


def test_plugins_in_another_thread(install_plugin: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["other thread"])
    places = dict.fromkeys(("making", "building", "step", "epoch"), "deaf()")
    install_plugin("deaf", DEAF.format(**places, **QUIET))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(all_calls).result()


def test_a_run_whose_plugin_ignores_signals_can_be_ended(install_plugin: Install, tmp_path: Path, tiny: Path) -> None:
    places = dict.fromkeys(("making", "building", "step", "epoch"), "deaf()")
    install_plugin("deaf", DEAF.format(**places, **QUIET | {"importing": "deaf()"}))
    command = [sys.executable, "-m", "lrtrain", "--plugin", "deaf", "--dataset", "tiny", "--data-dir", str(tiny)]
    started = subprocess.Popen(
        [*command, "--batch-size", "24", "--devices", "1", "--epochs", "1000000", "--quiet", "--run-dir", "run"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        steps = tmp_path / "run" / "steps.csv"
        while started.poll() is None and not (steps.exists() and steps.stat().st_size > 200):
            time.sleep(0.05)
        # One that comes within a call is lost, and nothing can be done about it.
        while started.poll() is None:
            started.send_signal(signal.SIGTERM)
            time.sleep(0.3)
        said = started.communicate(timeout=60)[1]
    finally:
        started.kill()
    assert started.returncode == 143, said
    assert said.startswith("Error: terminated; lrtrain --resume --run-dir run continues the run")


# ------------------------------------------------------------------------------------------------------------- threads

THREADS = """
import threading
threading.Thread(target=threading.Event().wait, name="left by a plugin").start()
""" + BUILDING.format(body="return lambda step: 1.0")


def test_a_thread_that_a_plugin_leaves_keeps_no_command_from_its_end(install_plugin: Install, tmp_path: Path) -> None:
    install_plugin("threads", THREADS)
    done = process(tmp_path, "plugins", "show", "threads", "--json")
    assert (done.returncode, json.loads(done.stdout)["name"]) == (0, "threads")
    assert done.stderr == "lrtrain: ended without threads that were still running: left by a plugin\n"
    refused = process(tmp_path, "plot", "--plugin", "threads(value=no)", "--steps", "10")
    assert "value" in lab.refusal(refused)


def test_a_thread_that_ends_is_waited_for(install_plugin: Install, tmp_path: Path) -> None:
    done_file = tmp_path / "done"
    late = THREADS.replace(
        "threading.Event().wait,", f"lambda: (threading.Event().wait(0.5), open({str(done_file)!r}, 'w')),"
    )
    install_plugin("threads", late + "import atexit; atexit.register(print, 'at the end')\n")
    done = process(tmp_path, "plugins", "show", "threads", "--json", PYTHONWARNINGS="ignore")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("at the end\n")
    assert done_file.exists()


# ------------------------------------------------------------------------------------------------------------- hanging


@pytest.mark.parametrize(
    "source",
    [
        "{mark}; import time; time.sleep(60)",
        BUILDING.format(body="{mark}; import time; time.sleep(60)"),
        BUILDING.format(body="{mark}\n        while True: pass"),
    ],
    ids=["import", "sleeping", "busy"],
)
def test_a_plugin_that_hangs_can_be_interrupted(install_plugin: Install, tmp_path: Path, source: str) -> None:
    mark = tmp_path / "reached"
    install_plugin("slow", source.replace("{mark}", f"open({str(mark)!r}, 'w').close()"))
    started = subprocess.Popen(
        [sys.executable, "-m", "lrtrain", "plot", "--plugin", "slow", "--output", "curve.csv"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not mark.exists() and started.poll() is None:
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    # Far less than the minute that it would hang.
    output, said = started.communicate(timeout=30)
    # On a busy machine the thread that watches for signals says it, which begins no new line.
    assert (started.returncode, output, said.strip()) == (130, "", "Error: interrupted; nothing has been done yet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reached", "site"]


# ---------------------------------------------------------------------------------------------- observers in a real run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hook", "arguments", "condition", "place"),
    [
        ("on_epoch_end", "epoch", "epoch.epoch == 1", "on_epoch_end of epoch 1"),
        ("on_step", "step", "step.step == 4", "on_step at step 4"),
    ],
)
def test_an_observer_that_raises_in_a_run(  # noqa: PLR0917
    install_plugin: Install, tmp_path: Path, tiny: Path, hook: str, arguments: str, condition: str, place: str
) -> None:
    mended = tmp_path / "mended"
    body = f"from pathlib import Path\n        if {condition} and not Path({str(mended)!r}).exists(): [][0]"
    install_plugin("bad", WATCHING.format(hook=hook, arguments=arguments, body=body))
    data = ["--dataset", "tiny", "--data-dir", str(tiny), "--batch-size", "24", "--devices", "1", "--quiet"]
    done = process(tmp_path, "--plugin", "sgdr", "--plugin", "bad", *data, "--epochs", "3", "--run-dir", "a run")
    said = lab.refusal(done, 1)
    assert said.startswith(f"plugin 'bad' raised in {place}: IndexError: list index out of range; ")
    assert "the checkpoint of step 3 is kept" in said
    command = said[said.index("lrtrain --resume") :].removesuffix(" continues the run")
    # Whoever fixes the plugin changes its code.
    expected = ["lrtrain", "--resume", "--accept-code-change", "--run-dir", str(tmp_path / "a run")]
    assert shlex.split(command) == expected
    mended.touch()
    resumed = process(tmp_path, *shlex.split(command)[1:], "--quiet")
    assert resumed.returncode == 0, resumed.stderr
    assert len((tmp_path / "a run" / "steps.csv").read_text().splitlines()) == 1 + 9


# ----------------------------------------------------------------------------------------------------------- terminals

ESCAPE = "\x1b]0;title\x07\x1b[2J"


def test_control_sequences_of_a_plugin_do_nothing_to_the_terminal(install_plugin: Install, tmp_path: Path) -> None:
    install_plugin("evil", BUILDING.format(body="return lambda step: 1.0").replace("Builds.", f"Builds {ESCAPE}."))
    (info,) = (tmp_path / "site").glob("*.dist-info")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: test-evil\nVersion: 1.0\nSummary: sums {ESCAPE}\n")
    (info / "entry_points.txt").write_text(f"[lrtrain.plugins]\nevil = test_evil_evil:Plugin\n{ESCAPE} = a:B\n")
    for arguments in (["list"], ["list", "--load"], ["show", "evil"], ["show", ESCAPE]):
        result = CliRunner().invoke(main, ["plugins", *arguments])
        assert "\\x1b" in result.output
        assert "\x1b" not in result.output
        assert "\x07" not in result.output


# ------------------------------------------------------------------------------------------------------------- tracing


def test_each_hook_call_is_traced(
    install_plugin: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LRTRAIN_TRACE_PLUGINS", "1")
    install_plugin("quiet", WATCHING.format(hook="on_step", arguments="step", body="return None"))
    install_plugin("ends", WATCHING.format(hook="on_step", arguments="run, step", body="return Stop('a\\nb')"))
    install_plugin("fails", WATCHING.format(hook="on_step", arguments="", body="raise ValueError('no')"))
    active = activate(["constant(value=0.5)", "quiet", "ends"])
    requests = Observers(active).step(RUN, StepInfo(7, 0, 0.1, 1.0))
    assert requests.stop == "ends: a\nb"
    assert (build_table(active, make_context(4, 2)).values == 0.5).all()
    with pytest.raises(TrainingError, match="'fails' raised in on_step at step 7: ValueError: no"):
        Observers(activate(["fails"])).step(RUN, StepInfo(7, 0, 0.1, 1.0))
    output, said = capsys.readouterr()
    lines = said.splitlines()
    assert output == ""
    assert lines[:2] == [
        "lrtrain: hook on_step of quiet -> None",
        f"lrtrain: hook on_step of ends -> {Stop(chr(97) + chr(10) + chr(98))!r}",
    ]
    assert lines[2].startswith("lrtrain: hook build_schedule of constant -> <function ")
    assert lines[3:] == ["lrtrain: hook on_step of fails raised ValueError('no')"]


def test_nothing_is_traced_unasked(install_plugin: Install, capsys: pytest.CaptureFixture[str]) -> None:
    build_table(activate(["constant"]), make_context(4, 2))
    assert tuple(capsys.readouterr()) == ("", "")


# --------------------------------------------------------------------------------------------------------- deprecation


def test_a_deprecated_hook_works_and_says_what_replaces_it(
    install_plugin: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_step(run, step): ...

    warning = deprecated("on_step", since="0.2", until="0.4", instead="on_chunk")
    monkeypatch.setattr(hookspecs, "on_step", hookspec(warn_on_impl=warning)(on_step))
    install_plugin("old", WATCHING.format(hook="on_step", arguments="step", body="return Stop('works')"))
    said = r"^on_step is deprecated since lrtrain 0\.2 and goes with lrtrain 0\.4: use on_chunk$"
    with pytest.warns(HookDeprecationWarning, match=said) as caught:
        active = activate(["old"])
    assert Path(caught[0].filename).name == "test_old_old.py", "the warning shows the plugin's own line"
    assert Observers(active).step(RUN, StepInfo(7, 0, 0.1, 1.0)).stop == "old: works"


def test_a_deprecated_argument(install_plugin: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_step(run, step): ...

    arguments = {"run": deprecated("run of on_step", since="0.2", until="0.4", instead="step.run")}
    monkeypatch.setattr(hookspecs, "on_step", hookspec(warn_on_impl_args=arguments)(on_step))
    install_plugin("old", WATCHING.format(hook="on_step", arguments="run, step", body="..."))
    install_plugin("new", WATCHING.format(hook="on_step", arguments="step", body="..."))
    with pytest.warns(HookDeprecationWarning, match=r"^run of on_step is deprecated .*: use step\.run$"):
        activate(["old"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        activate(["new"])


def test_the_warning_is_shown_to_users(install_plugin: Install) -> None:
    assert issubclass(HookDeprecationWarning, FutureWarning), "Python shows no DeprecationWarning by itself"
