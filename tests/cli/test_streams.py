"""Standard streams that are closed, full or gone, in real processes: progress is no result, and results are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.lab import MODEL

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device of Linux")
LOST = "Error: standard output cannot be written ("
# Commands that exist to print.
PRINTING = [
    "--version",
    "--help",
    "train --help",
    "plugins list",
    "plugins list --load",
    "plugins list --json",
    "plugins show sgdr",
    "plugins check constant",
    "runs list --dir .",
    "plot --plugin sgdr",
    "export --plugin sgdr --to csv",
    "compare --show-preset tutorial",
    "completion bash",
]
# What a shell does to the streams of the process it becomes.
CLOSED, FULL = {"stdout": ">&-", "stderr": "2>&-"}, {"stdout": ">/dev/full", "stderr": "2>/dev/full"}


def lrtrain(line: str, streams: str = "", *, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command with its streams as a shell's redirections have them."""
    script = f'exec "$0" -m lrtrain {line} {streams}'
    site = {"PYTHONPATH": str(cwd / "site"), **environment}
    return subprocess.run(
        ["sh", "-c", script, sys.executable],
        cwd=cwd, env={**os.environ, **site}, capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip


def on_a_vanished_terminal(line: str, *, cwd: Path, streams: tuple[int, ...], **options: str) -> tuple[int, str]:
    """Runs a command with streams on a terminal that goes while it is about to begin; returns code and the rest."""
    master, slave = os.openpty()
    # SIGHUP is ignored, as under nohup; the terminal is gone before the first word.
    script = f'trap "" HUP; read go; exec "$0" -m lrtrain {line}'
    ends = {1: subprocess.PIPE, 2: subprocess.PIPE, **dict.fromkeys(streams, slave)}
    process = subprocess.Popen(
        ["sh", "-c", script, sys.executable], cwd=cwd, env={**os.environ, "PYTHONPATH": str(cwd / "site"), **options},
        stdin=subprocess.PIPE, stdout=ends[1], stderr=ends[2], text=True, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    os.close(master)
    out, err = process.communicate("go\n", timeout=250)
    return process.returncode, (out or "") + (err or "")


def small(site: Path, data: Path) -> str:
    """Returns the options of a run that takes seconds."""
    (site / "site").mkdir(exist_ok=True)
    (site / "site" / "small_model.py").write_text(MODEL, encoding="utf-8")
    return f"--dataset tiny --data-dir {data} --model small_model:Small --batch-size 8"


@pytest.mark.parametrize("line", PRINTING)
@pytest.mark.parametrize("stream", [">/dev/full", ">&-"])
def test_results_that_cannot_be_printed_are_an_error(line: str, stream: str, tmp_path: Path) -> None:
    done = lrtrain(line, stream, cwd=tmp_path)
    reason = "No space left on device" if "full" in stream else "it is closed"
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == f"{LOST}{reason}): send it to where it can be, as with > FILE"
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("streams", [">&- 2>&-", ">/dev/full 2>/dev/full", "<&- >&- 2>&-"])
def test_nobody_is_left_to_be_told(streams: str, tmp_path: Path) -> None:
    assert lrtrain("plugins list", streams, cwd=tmp_path).returncode == 1


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", "<&-", "<&- 2>&-"])
def test_results_are_printed_whatever_else_is_closed(streams: str, tmp_path: Path) -> None:
    done = lrtrain("plugins list", streams, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cosine-onecycle" in done.stdout


def test_an_error_that_cannot_be_told_keeps_its_code(tmp_path: Path) -> None:
    for streams in ("2>&-", "2>/dev/full"):
        assert lrtrain("plugins show sgrd", streams, cwd=tmp_path).returncode == 2


def test_nobody_is_asked_on_a_closed_standard_input(tmp_path: Path) -> None:
    done = lrtrain("plugins uninstall lrtrain-sgdr", "<&-", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "Error: nobody is here to be asked: --yes uninstalls without asking"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_python_without_buffers(unbuffered: str, tmp_path: Path) -> None:
    done = lrtrain("--version", ">/dev/full", cwd=tmp_path, PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr[: len(LOST)]) == (1, LOST)


def test_a_terminal_that_has_gone(tmp_path: Path) -> None:
    code, said = on_a_vanished_terminal("plugins list", cwd=tmp_path, streams=(1,))
    assert (code, said) == (1, f"{LOST}Input/output error): send it to where it can be, as with > FILE\n")
    assert on_a_vanished_terminal("plugins list", cwd=tmp_path, streams=(1, 2)) == (1, "")


def test_what_a_plugin_prints_may_be_lost(install_plugin: Callable[..., str], tmp_path: Path) -> None:
    install_plugin("chatty", CHATTY)
    for stream in ("2>&-", "2>/dev/full"):
        done = lrtrain("export --plugin chatty --to csv --steps 2", stream, cwd=tmp_path, LRTRAIN_TRACE_PLUGINS="1")
        assert (done.returncode, done.stdout) == (0, "step,learning_rate\n0,0.5\n1,0.5\n")


CHATTY = """
print("hello")
@dataclass(frozen=True)
class Plugin:
    "Talks."
    @hookimpl
    def build_schedule(self, context):
        print("building", flush=True)
        return lambda step: 0.5
"""


@pytest.mark.slow
@pytest.mark.parametrize("streams", ["<&- 2>&-", "2>/dev/full"])
def test_training_goes_on_without_its_progress(streams: str, tmp_path: Path, tiny: Path) -> None:
    done = lrtrain(f"--plugin sgdr {small(tmp_path, tiny)} --epochs 2 --run-dir run", streams, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "run          run" in done.stdout.splitlines()
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2
    # A file of the run that had got the number of a closed stream would hold what libraries print.
    header, *rows = (tmp_path / "run" / "steps.csv").read_text().splitlines()
    assert header == "step,epoch,learning_rate,loss"
    assert [int(row.split(",")[0]) for row in rows] == list(range(18))


@pytest.mark.slow
def test_training_whose_summary_cannot_be_printed(tmp_path: Path, tiny: Path) -> None:
    done = lrtrain(f"--plugin sgdr {small(tmp_path, tiny)} --epochs 1 --run-dir run", ">/dev/full", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"{LOST}No space left on device): the run is complete, and its files are in run"
    )
    assert lrtrain("runs list --dir .", cwd=tmp_path).stdout.count("finished") == 1


@pytest.mark.slow
def test_training_whose_terminal_goes_while_it_trains(tmp_path: Path, tiny: Path) -> None:
    """The bar is drawn by a thread of its own, which must not end the run either."""
    arguments = f"--plugin sgdr {small(tmp_path, tiny)} --epochs 40 --run-dir run".split()
    master, slave = os.openpty()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "lrtrain", *arguments], cwd=tmp_path, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "TERM": "xterm"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave, text=True,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGHUP, before)
    os.close(slave)
    shown = b""
    while b"sgdr: 40 epochs" not in shown:
        shown += os.read(master, 4096)
    os.close(master)
    out, _ = process.communicate(timeout=250)
    assert process.returncode == 0
    assert "after 360 steps" in out


STORM = """
import signal
import sys
from lrtrain.cli.streams import guard_streams

def stop(number, frame):
    raise KeyboardInterrupt

guard_streams()
signal.signal(signal.SIGALRM, stop)
for line in range(5000):
    try:
        signal.setitimer(signal.ITIMER_REAL, (1 + line % 30) * 1e-6)
        sys.stderr.write(f"{line}\\n")
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        pass
"""


def test_what_a_signal_interrupts_is_not_written_twice() -> None:
    done = subprocess.run([sys.executable, "-c", STORM], capture_output=True, text=True, check=True, timeout=60)
    lines = done.stderr.split()
    assert len(lines) > 100
    assert len(lines) == len(set(lines))
