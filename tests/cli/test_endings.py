"""Real processes that real signals end, in every phase of a run; and two that want one directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lrtrain
from tests.faults.lab import MODEL
from tests.lab import SPEC, ended, metrics, until

# Says where it is, and stays there until it is told to go on; a kill that comes meanwhile finds it in the hook.
OBSERVER = """
import time
@dataclass(frozen=True)
class Plugin:
    "Blocks in a hook."
    at: int = -1000
    def wait(self, run, name):
        (run.directory.parent / name).touch()
        end = time.monotonic() + 60
        while not (run.directory.parent / "go").exists() and time.monotonic() < end:
            time.sleep(0.01)
    @hookimpl
    def on_step(self, run, step):
        if step.step == self.at:
            self.wait(run, "in_step")
        return ScaleLearningRate(0.97)
    @hookimpl
    def on_epoch_end(self, run, epoch):
        if -1 - epoch.epoch == self.at:
            self.wait(run, "in_epoch")
        return ScaleLearningRate(1.2)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path, tiny: Path) -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, code: str | None = None, new: bool = True, **options: Any) -> subprocess.Popen[str]:
        given = ("--dataset", "tiny", "--data-dir", str(tiny), "--batch-size", "2", "--epochs", "4") if new else ()
        command = [sys.executable, *(("-c", code) if code else ("-m", "lrtrain")), "train", *given, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes, **options))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def said_phase(process: subprocess.Popen[str], phase: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(phase):
            return
    raise AssertionError(f"{phase} was not said")


def bits(run: Path) -> tuple[bytes, list[dict[str, Any]]]:
    return (run / "steps.csv").read_bytes(), metrics(run)


@pytest.mark.slow
def test_a_signal_in_any_phase_ends_the_run_and_it_goes_on_to_the_same_bits(
    start: Start, tmp_path: Path, tiny: Path, install_plugin: Callable[..., str]
) -> None:
    blocks = install_plugin("blocks", OBSERVER)
    options: dict[str, Any] = {"dataset": "tiny", "data_dir": tiny, "batch_size": 2, "epochs": 4}
    lrtrain.train(SPEC, blocks, run_dir=tmp_path / "whole", **options)
    arguments = ("--plugin", SPEC, "--run-dir", "run")
    go_on = "lrtrain --resume --run-dir run continues the run"

    # While it loads, before there is a directory.
    process = start(*arguments, "--plugin", blocks)
    said_phase(process, "loading tiny")
    process.send_signal(signal.SIGTERM)
    code, err = ended(process)
    assert (code, err[-1]) == (143, "Error: terminated; nothing has been trained yet")
    assert not (tmp_path / "run").exists()

    # While it compiles, within three steps of a directory that --resume can begin from.
    process = start(*arguments, "--plugin", blocks)
    said_phase(process, "compiling")
    process.send_signal(signal.SIGINT)
    code, err = ended(process)
    assert code == 130
    assert err[-1].startswith("Error: interrupted; ")

    # In a hook at a step, and then in one at the end of an epoch.
    for at, marker, number in [(5, "in_step", signal.SIGTERM), (-2, "in_epoch", signal.SIGINT)]:
        extra = ("--resume", "--run-dir", "run", "--set", f"{blocks}.at={at}")
        process = start(*extra, new=False)
        assert until(process, (tmp_path / marker).exists)
        process.send_signal(number)
        (tmp_path / "go").touch()
        code, err = ended(process)
        assert (code, err[-1]) == (128 + number, f"Error: {'terminated' if number == 15 else 'interrupted'}; {go_on}")
        (tmp_path / "go").unlink()

    # The second signal does not wait for the hook, which never ends.
    steps = len((tmp_path / "run" / "steps.csv").read_text().splitlines())
    process = start("--resume", "--run-dir", "run", "--set", f"{blocks}.at={steps}", new=False)
    (tmp_path / "in_step").unlink()
    assert until(process, (tmp_path / "in_step").exists)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    code, err = ended(process)
    assert (code, err[-1]) == (143, f"Error: terminated; {go_on}")

    process = start("--resume", "--run-dir", "run", "--set", f"{blocks}.at=-1000", new=False)
    code, err = ended(process)
    assert code == 0, err
    assert bits(tmp_path / "run") == bits(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_process_leaves_no_lock_and_a_living_one_keeps_it(
    start: Start, tmp_path: Path, install_plugin: Callable[..., str]
) -> None:
    blocks = install_plugin("blocks", OBSERVER)
    process = start("--plugin", SPEC, "--plugin", f"{blocks}(at=40)", "--run-dir", "run", "--checkpoint-every", "10")
    assert until(process, (tmp_path / "in_step").exists)
    before = bits(tmp_path / "run")
    code, err = ended(start("--resume", "--run-dir", "run", new=False))
    assert (code, len([line for line in err if line.startswith("Error")])) == (2, 1)
    assert "another process is writing to" in err[-1]
    assert bits(tmp_path / "run") == before
    process.kill()
    process.communicate()
    (tmp_path / "go").touch()
    code, err = ended(start("--resume", "--run-dir", "run", new=False))
    assert code == 0, err
    assert any("(from step 40)" in line for line in err), err


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_nothing_is_lost(start: Start, tmp_path: Path) -> None:
    arguments = ("--plugin", SPEC, "--run-dir", "run", "--model", "model_on_a_full_disk:Small", "--epochs", "60")
    (tmp_path / "site").mkdir(exist_ok=True)
    (tmp_path / "site" / "model_on_a_full_disk.py").write_text(MODEL)
    # What a file may hold: less than steps.csv will.
    code, err = ended(start(*arguments, code=LIMITED.format(60_000)))
    assert code == 1, err
    assert err[-1].startswith("Error: ")
    assert "File too large" in err[-1]
    code, err = ended(start("--resume", "--run-dir", "run", new=False))
    assert code == 0, err
    assert len((tmp_path / "run" / "steps.csv").read_text().splitlines()) == 60 * 36 + 1
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 60


# Within the process: one that runs JAX in threads of its own, as that of the tests may, must not fork.
LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
from lrtrain.cli import main
main()
"""

# Nothing that is read to resume a run may be able to execute code.
AUDITED = """
import sys
seen = []
def hook(event, arguments):
    if event == "pickle.find_class":
        seen.append(arguments)
sys.addaudithook(hook)
from lrtrain.training.train import train
train(run_dir="run", resume=True, epochs=5, on_schedule_change="keep")
assert not seen, seen
print("nothing unpickled")
"""


@pytest.mark.slow
def test_nothing_is_unpickled_by_a_resume(start: Start, tmp_path: Path, tiny: Path) -> None:
    lrtrain.train(SPEC, run_dir=tmp_path / "run", dataset="tiny", data_dir=tiny, batch_size=8, epochs=2)
    process = start(code=AUDITED, new=False)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "nothing unpickled\n"), err
