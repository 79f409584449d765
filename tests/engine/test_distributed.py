"""Several processes that train one network, as real processes on this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import lrtrain
from lrtrain.cli import main
from lrtrain.engine.connection import Distributed, named_process_loss, refusals_told
from lrtrain.engine.devices import _of_each_process
from lrtrain.engine.processes import ALONE, Processes
from lrtrain.engine.rendezvous import Place, _reached, meet
from lrtrain.errors import TrainingError, UsageError

SPEC = "sgdr(cycles=2, init_value=0.002, peak_value=0.01, end_value=0.001, warmup_steps=none)"
OPTIONS: dict[str, Any] = {
    "dataset": "tiny",
    "batch_size": 8,
    "optimizer": "adam",
    "epochs": 5,
    "model": "model_in_processes:Small",
}

# It compiles faster than the default one. Its module has a name that no other test has: it stays imported.
MODEL = """
import flax.linen as nn

class Small(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(8)(x.reshape(x.shape[0], -1)))
        return nn.Dense(self.num_classes)(x)
"""

# Notes which process calls it, asks for another learning rate in both hooks, and can kill a process.
OBSERVER = """
import os, signal

@dataclass(frozen=True)
class Plugin:
    "Notes, asks and kills."
    notes: str = ""

    def note(self, run, text):
        with open(run.directory.parent / "notes.txt", "a") as file:
            print(os.getpid(), text, file=file)

    @hookimpl
    def on_step(self, run, step):
        self.note(run, f"step {step.step}")
        return ScaleLearningRate(0.5) if step.step == 3 else None

    @hookimpl
    def on_epoch_end(self, run, epoch):
        self.note(run, f"epoch {epoch.epoch}")
        victim = run.directory.parent / "victim"
        if epoch.epoch == 3 and victim.exists():
            os.kill(int(victim.read_text()), signal.SIGKILL)
            victim.unlink()
        return ScaleLearningRate(0.75)
"""


@pytest.fixture
def launch(tiny: Path, tmp_path: Path) -> Callable[..., list[subprocess.Popen[str]]]:
    """Returns a function that starts the processes of a run on one device each."""

    def start(
        *arguments: str,
        own: dict[int, list[str]] | None = None,
        command: str = "train",
        each: tuple[str, ...] = ("--devices", "1"),
    ) -> list[subprocess.Popen[str]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        own = own or {}
        return [
            lrtrain_process(
                tmp_path,
                *(*arguments, "--distributed", "--coordinator", address, "--num-processes", "2"),
                *("--process-id", str(index), *each, *own.get(index, [])),
                command=command,
            )
            for index in range(2)
        ]

    return start


def lrtrain_process(directory: Path, *arguments: str, command: str = "train") -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    environment["PYTHONPATH"] = str(directory / "site")
    return subprocess.Popen(
        [sys.executable, "-m", "lrtrain", command, *arguments],
        cwd=directory,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(processes: list[subprocess.Popen[str]], seconds: float = 150) -> list[tuple[int, str, str]]:
    """Returns exit codes and output; nobody is left over, whatever happens."""
    try:
        outputs = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def options(tiny: Path) -> list[str]:
    given = {**OPTIONS, "data_dir": tiny}
    return [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def columns(run_dir: Path) -> np.ndarray[Any, Any]:
    table: np.ndarray[Any, Any] = np.loadtxt(run_dir / "steps.csv", delimiter=",", skiprows=1)
    return table


@pytest.mark.slow
def test_two_processes_train_as_one_and_go_on_when_one_was_killed(
    launch: Callable[..., list[subprocess.Popen[str]]],
    install_plugin: Callable[..., str],
    tiny: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "site" / "model_in_processes.py").write_text(MODEL)
    plugins = ["--plugin", SPEC, "--plugin", install_plugin("observer", OBSERVER)]

    # The default directory has the time in its name, and they agree on one.
    (code, out, err), other = ended(launch(*plugins, *options(tiny)))
    assert code == 0, err
    assert other == (0, "", ""), "only the first process speaks"
    assert "2 x cpu in 2 processes" in err
    assert out.startswith("test accuracy")
    (whole,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    config = json.loads((whole / "config.json").read_text())
    assert (config["device"]["count"], config["processes"], config["train"]["devices"]) == (2, 2, 1)
    assert (whole / "learning_rate.png").exists()

    # Steps are optimizer updates, 9 an epoch and not 18; each is seen once, by one process.
    notes = [line.split(" ", 1) for line in (whole.parent / "notes.txt").read_text().splitlines()]
    assert len({process for process, _ in notes}) == 1
    assert sorted(text for _, text in notes) == sorted(
        [f"step {step}" for step in range(45)] + [f"epoch {epoch}" for epoch in range(5)]
    )

    # One process with as many devices. Sums of four examples by two, so only their order may differ.
    lrtrain.train(SPEC, "observer", run_dir=tmp_path / "one", data_dir=tiny, devices=2, **OPTIONS)
    np.testing.assert_array_equal(columns(tmp_path / "one")[:, :3], columns(whole)[:, :3])
    np.testing.assert_allclose(columns(tmp_path / "one")[:, 3], columns(whole)[:, 3], rtol=1e-4)

    # Killed at the end of the fourth epoch: by then the second epoch's checkpoint is on disk.
    started = launch(*plugins, *options(tiny), "--run-dir", "torn")
    (tmp_path / "victim").write_text(str(started[1].pid))
    assert started[1].wait(150) == -9
    (code, _, err), _ = ended(started, 60)
    assert code == 1, err
    assert "Error: a process of this distributed run has gone" in err
    assert f"the same command with --resume --run-dir {tmp_path / 'torn'} continues the run" in err

    (code, _, err), _ = ended(launch("--resume", "--run-dir", "torn"))
    assert code == 0, err
    assert (tmp_path / "torn" / "steps.csv").read_bytes() == (whole / "steps.csv").read_bytes()
    assert json.loads((tmp_path / "torn" / "config.json").read_text())["resumed"][0]["step"] in (18, 27)


@pytest.mark.slow
def test_two_processes_train_any_workload_as_one(
    launch: Callable[..., list[subprocess.Popen[str]]], tmp_path: Path
) -> None:
    """It has a state, which is that of a device's share of a batch, draws random numbers and has other metrics."""
    workload = f"{Path(__file__).parents[1] / 'training' / 'blobs.py'}:Blobs(own_validation=true)"
    words = ["--workload", workload, "--plugin", SPEC, "--epochs", "2", "--ema", "0.9"]
    (code, _, err), other = ended(launch(*words, "--run-dir", "two"))
    assert code == 0, err
    assert other == (0, "", ""), "only the first process speaks"
    one = lrtrain.train(SPEC, workload=workload, epochs=2, ema=0.9, devices=2, run_dir=tmp_path / "one")
    np.testing.assert_array_equal(columns(tmp_path / "one")[:, :3], columns(tmp_path / "two")[:, :3])
    np.testing.assert_allclose(columns(tmp_path / "one")[:, 3], columns(tmp_path / "two")[:, 3], rtol=1e-4)
    metrics = [json.loads((tmp_path / name / "test.json").read_text()) for name in ("one", "two")]
    assert metrics[0]["loss"] == pytest.approx(metrics[1]["loss"], rel=1e-4)
    assert one.test_loss == metrics[0]["loss"]


@pytest.mark.slow
def test_two_processes_share_the_runs_of_a_comparison(
    launch: Callable[..., list[subprocess.Popen[str]]], install_plugin: Callable[..., str], tiny: Path, tmp_path: Path
) -> None:
    install_plugin("observer", OBSERVER)
    (tmp_path / "site" / "model_in_processes.py").write_text(MODEL)
    plan = ["--plugin", "constant(value=0.01)", "--plugin", "linear(init_value=0.02)", "--holdout", "20"]
    plan += ["--lr-scales", "0.5,1,2", "--tuning-seeds", "1", "--seeds", "3", *options(tiny)]
    (code, out, err), other = ended(launch(*plan, "--run-dir", "shared", command="compare"))
    assert code == 0, err
    assert other == (0, "", ""), "only the first process speaks"
    assert "2 at once" in err
    assert json.loads((tmp_path / "shared" / "comparison.json").read_text())["about"]["processes"] == 2
    (alone,) = ended([lrtrain_process(tmp_path, *plan, "--devices", "1", "--run-dir", "alone", command="compare")])
    assert alone[0] == 0, alone[2]

    def results(name: str) -> dict[str, tuple[Any, ...]]:
        found = {
            path.parent.name: json.loads(path.read_text()) for path in (tmp_path / name).glob("runs/*/outcome.json")
        }
        return {run: (each["state"], each["validation_loss"], each["test_accuracy"]) for run, each in found.items()}

    both, one = results("shared"), results("alone")
    assert both.keys() == one.keys()
    for run, (state, loss, accuracy) in both.items():
        assert (state, accuracy) == (one[run][0], one[run][2])
        assert loss == pytest.approx(one[run][1], rel=1e-5)
    # Each line of the runs is printed once, whoever has trained it.
    assert sum(line.startswith("[") for line in err.splitlines()) == len(both)

    # What is missing is trained, and nothing else.
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "shared").glob("runs/*/outcome.json")}
    torn = sorted(done)[:3]
    for path in torn:
        path.unlink()
    resume = ("--resume", "--run-dir", "shared")
    (code, again, err), other = ended(launch(*resume, command="compare", each=()))
    assert (code, other) == (0, (0, "", "")), err
    assert all(path.stat().st_mtime_ns == when for path, when in done.items() if path not in torn)
    assert results("shared").keys() == one.keys()
    assert again.splitlines()[-2] == out.splitlines()[-2]


@pytest.mark.slow
def test_what_one_process_cannot_do_ends_all(
    launch: Callable[..., list[subprocess.Popen[str]]], tiny: Path, tmp_path: Path
) -> None:
    elsewhere = ["--data-dir", str(tmp_path / "nothing")]
    first, second = ended(launch("--plugin", SPEC, *options(tiny), "--run-dir", "run", own={1: elsewhere}))
    assert second[0] == 2
    assert "there is no data set 'tiny'" in second[2]
    assert first[0] == 1
    assert "Error: process 1 of this distributed run has failed: there is no data set 'tiny'" in first[2]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "message"),
    [
        (["--seed", "1"], "(seed=1 in process 1 and seed=0 in process 0)"),
        (
            ["--plugin", "constant(value=0.1)"],
            "(constant.value=0.1 in process 1 and constant.value=0.0001 in process 0)",
        ),
        (["--batch-size", "4"], "(batch_size=4 in process 1 and batch_size=8 in process 0)"),
        (["--process-id", "0"], "--process-id 0 is given twice"),
        (["--plugin", "nope"], "no plugin 'nope' is installed"),
        (["--num-processes", "3"], "process 1 was started with --num-processes 3 and process 0 with 2"),
    ],
)
def test_processes_that_were_not_given_the_same_end_with_one_sentence(
    launch: Callable[..., list[subprocess.Popen[str]]], tiny: Path, tmp_path: Path, own: list[str], message: str
) -> None:
    plugin = [] if "--plugin" in own else ["--plugin", "constant"]
    given = {0: ["--plugin", "constant"], 1: own} if "--plugin" in own else {1: own}
    for code, out, err in ended(launch(*plugin, *options(tiny), "--run-dir", "run", own=given), 60):
        assert (code, out) == (2, ""), err
        assert err.splitlines()[-1].startswith("Error: ")
        assert message in err
        assert "check failure" not in err.lower()
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("victims", [(0, 1), (0,), (1,)])
def test_a_signal_says_how_the_run_goes_on_and_ends_all(
    launch: Callable[..., list[subprocess.Popen[str]]], tiny: Path, tmp_path: Path, victims: tuple[int, ...]
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "model_in_processes.py").write_text(MODEL)
    started = launch("--plugin", "constant", *options(tiny), "--run-dir", "run", "--epochs", "1000")
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        assert all(process.poll() is None for process in started)
        time.sleep(0.01)
    for victim in victims:
        started[victim].send_signal(signal.SIGTERM)
    go_on = f"the same command with --resume --run-dir {tmp_path / 'run'} continues the run"
    for index, (code, _, err) in enumerate(ended(started, 60)):
        (said,) = (line for line in err.splitlines() if line.startswith("Error: "))
        assert said.endswith(go_on)
        assert code == (143 if index in victims else 1), err
        assert said.startswith("Error: terminated; ") == (index in victims)
        assert "check failure" not in err.lower()


@pytest.mark.slow
def test_a_signal_ends_a_process_that_waits_for_the_others(
    launch: Callable[..., list[subprocess.Popen[str]]], tiny: Path
) -> None:
    first, second = launch("--plugin", "constant", *options(tiny), own={1: ["--coordinator", "127.0.0.1:1"]})
    assert first.stderr is not None
    assert first.stderr.readline() == "waiting for the other processes ...\n"
    first.send_signal(signal.SIGTERM)
    assert (
        first.communicate(timeout=60)[1] == "Error: terminated; the processes of this run had not come together yet\n"
    )
    assert first.returncode == 143
    second.kill()
    second.communicate()


def meeting(*processes: tuple[int, int, dict[str, Any]], patience: float = 60.0) -> list[str | None]:
    """Has processes meet, as threads of this one; returns what each was refused with."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"

    def one(index: int, count: int, facts: dict[str, Any]) -> str | None:
        try:
            ties = meet(Place(address, count, index), facts, patience)
        except UsageError as error:
            return str(error)
        for each in ties.sockets:
            each.close()
        return None

    with ThreadPoolExecutor(len(processes)) as pool:
        return [each.result() for each in [pool.submit(one, *process) for process in processes]]


def test_processes_that_are_alike_meet() -> None:
    facts = {"seed": 1, "scales": (1.0, 2.0)}
    assert meeting((0, 3, facts), (2, 3, facts), (1, 3, facts)) == [None, None, None]


def test_each_process_hears_in_what_it_differs() -> None:
    said = meeting((0, 3, {"seed": 0}), (1, 3, {"seed": 0}), (2, 3, {"seed": 2, "epochs": 1}))
    assert len(set(said)) == 1
    assert said[0] is not None
    assert said[0].startswith(
        "process 2 was not given the same as process 0 (seed=2 in process 2 and seed=0 in process 0; epochs in process "
        "2 only)"
    )


@pytest.mark.parametrize("refused", [0, 1])
def test_the_others_hear_of_one_that_is_refused_before_they_meet(refused: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"

    def refuse() -> str:
        with pytest.raises(UsageError) as raised, refusals_told(Distributed(address, 2, refused)):
            raise UsageError("epochs=0 is refused")
        return str(raised.value)

    def wait() -> str:
        with pytest.raises(UsageError) as raised:
            meet(Place(address, 2, 1 - refused), {"epochs": 1}, 60.0)
        return str(raised.value)

    with ThreadPoolExecutor(2) as pool:
        said = [each.result() for each in [pool.submit(refuse), pool.submit(wait)]]
    assert said == ["epochs=0 is refused", f"process {refused} cannot take part: epochs=0 is refused"]


@pytest.mark.parametrize("where", [None, Distributed(), Distributed("127.0.0.1:nowhere", 2, 1)])
def test_a_refusal_stays_what_it_is_where_nobody_can_be_told(where: Distributed | None) -> None:
    with pytest.raises(UsageError, match=r"^epochs=0 is refused$"), refusals_told(where):
        raise UsageError("epochs=0 is refused")


def test_a_process_that_never_comes_is_named() -> None:
    said = meeting((0, 4, {}), (1, 4, {}), patience=1.0)
    assert all("have not connected" in str(each) and "within 1 s: 2, 3;" in str(each) for each in said), said
    (said_by_another,) = meeting((1, 2, {}), patience=0.5)
    assert "process 0 has not answered at 127.0.0.1:" in str(said_by_another)


def test_who_says_nothing_or_nonsense_at_the_address_disturbs_nobody() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(meet, Place(f"127.0.0.1:{port}", 2, 0), {"seed": 0}, 60.0)
        silent, loud = (_reached(Place(f"127.0.0.1:{port}", 2, 1), time.monotonic() + 30, 30) for _ in range(2))
        loud.sendall(b"GET / HTTP/1.1\r\n\r\n")
        other = meet(Place(f"127.0.0.1:{port}", 2, 1), {"seed": 0}, 60.0)
        ties = first.result()
    for each in (silent, loud, *other.sockets, *ties.sockets):
        each.close()


def test_what_listens_there_and_is_no_process_0() -> None:
    with socket.socket() as other, ThreadPoolExecutor(1) as pool:
        other.bind(("127.0.0.1", 0))
        other.listen()
        place = Place(f"127.0.0.1:{other.getsockname()[1]}", 2, 1)
        refused = pool.submit(meet, place, {}, 60.0)
        link = other.accept()[0]
        link.sendall(b"SSH-2.0\n")
        with pytest.raises(UsageError, match="is no process 0 that waits for this one"):
            refused.result()
        link.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--coordinator", "a:1"], "--coordinator, --num-processes and --process-id go with --distributed: add it"),
        (["--distributed", "--process-id", "0"], "belong together: give all three or none"),
        (
            ["--distributed", "--coordinator", "node1", "--num-processes", "2", "--process-id", "0"],
            "--coordinator node1 is refused: expected HOST:PORT, as in node1:12355",
        ),
        (
            ["--distributed", "--coordinator", "node1:70000", "--num-processes", "2", "--process-id", "0"],
            "--coordinator node1:70000 is refused",
        ),
        (
            ["--distributed", "--coordinator", "node1:1234", "--num-processes", "2", "--process-id", "2"],
            "--process-id 2 with --num-processes 2 is refused: expected numbers from 0 to one less than the processes",
        ),
        (
            ["--distributed", "--coordinator", "node1:1234", "--num-processes", "0", "--process-id", "0"],
            "--process-id 0 with --num-processes 0 is refused",
        ),
    ],
)
def test_what_is_no_process_of_a_run(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["--plugin", "constant", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_no_cluster_and_an_address_in_use(tmp_path: Path) -> None:
    ((code, _, err),) = ended([lrtrain_process(tmp_path, "--plugin", "constant", "--distributed")])
    assert code == 2, err
    assert "Error: --distributed finds no cluster" in err
    assert "give --coordinator HOST:PORT, --num-processes N and --process-id I" in err
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        address = ["--coordinator", where, "--num-processes", "2", "--process-id", "0"]
        ((code, _, err),) = ended([lrtrain_process(tmp_path, "--plugin", "constant", "--distributed", *address)])
    assert code == 2, err
    assert f"Error: --distributed cannot be set up at {where}" in err


def test_processes_of_unequal_size_are_refused() -> None:
    devices: Any = [SimpleNamespace(process_index=index) for index in (0, 0, 1)]
    with pytest.raises(UsageError, match=r"the processes have from 1 to 2 devices, .* give --devices N"):
        _of_each_process(devices, None)
    assert _of_each_process([*devices, devices[2]], 1) == [devices[0], devices[2]]


def test_a_process_alone_agrees_with_itself() -> None:
    assert ALONE.from_main(lambda: "text") == "text"
    with pytest.raises(UsageError, match="mine"), ALONE.together():
        raise UsageError("mine")


@pytest.mark.parametrize(
    "text", ["Gloo all-reduce failed: Connection closed by peer", "NCCL error", "heartbeat timeout"]
)
def test_the_loss_of_a_process_is_one_sentence(text: str) -> None:
    with (
        pytest.raises(TrainingError, match=r"^a process of this distributed run has gone \(.*\); go on so$"),
        named_process_loss(Processes(0, 2), lambda: "go on so"),
    ):
        raise ValueError(f"UNKNOWN: {text}")


@pytest.mark.parametrize(
    ("processes", "error"),
    [
        (ALONE, ValueError("Gloo all-reduce failed")),
        (Processes(0, 2), ValueError("a bug of ours")),
        (Processes(0, 2), UsageError("the barrier is ours")),
    ],
)
def test_other_errors_stay_what_they_are(processes: Processes, error: Exception) -> None:
    with pytest.raises(type(error)) as raised, named_process_loss(processes, lambda: ""):
        raise error
    assert raised.value is error
