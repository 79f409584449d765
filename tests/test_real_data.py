"""The main job on the real data, as a user starts it: a process of its own, the command line, the files."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import lrtrain

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose cache has what a first start prepares, shared by the tests of this file."""
    cache = str(tmp_path_factory.mktemp("real-cache"))
    unset = ("JAX_NUM_CPU_DEVICES", "TF_CPP_MIN_LOG_LEVEL")
    return {**{k: v for k, v in os.environ.items() if k not in unset}, "LRTRAIN_CACHE_DIR": cache}


def start(directory: Path, environment: dict[str, str], *arguments: str, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lrtrain", *arguments]
    return subprocess.Popen(command, cwd=directory, env=environment, text=True, **options)  # type: ignore[call-overload]


def test_one_epoch_of_all_of_fashion_mnist(tmp_path: Path, environment: dict[str, str]) -> None:
    process = start(
        tmp_path,
        environment,
        *("--plugin", "sgdr", "--epochs", "1", "--run-dir", "run"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "60000 training and 10000 test images" in err
    assert "Traceback" not in err
    assert "XLA" not in err, "the compiler's own messages"
    (epoch,) = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert epoch["test_accuracy"] >= 0.83
    assert f"test accuracy {epoch['test_accuracy']:.4f}" in out
    with (tmp_path / "run" / "steps.csv").open(newline="") as file:
        rates = np.float32([row["learning_rate"] for row in csv.DictReader(file)])
    rate = lrtrain.schedule("sgdr", total_steps=235, steps_per_epoch=235)
    # Near the end of a cycle the cosine is close to zero: what float32 loses of the peak, 3e-4, stays there.
    np.testing.assert_allclose(rates, np.asarray(rate(np.arange(235))), rtol=1e-5, atol=1e-11)
    for name in ("metrics.jsonl", "steps.csv", "learning_rate.png", "checkpoints"):
        assert os.path.join("run", name) in out
        assert (tmp_path / "run" / name).exists()


def read_all(terminal: int) -> str:
    text = b""
    while select.select([terminal], [], [], 120)[0]:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        text += part
    return text.decode()


def test_progress_bar_on_a_terminal(tmp_path: Path, environment: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    arguments = ("--plugin", "constant", "--train-size", "4096", "--epochs", "2", "--run-dir", "run")
    wide = {**environment, "TERM": "xterm", "COLUMNS": "120"}
    process = start(tmp_path, wide, *arguments, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    text = read_all(ours)
    assert process.wait() == 0, text
    assert re.search(r"\d+/32", text), "steps done of all"
    for part in (r"lr 0\.0001", r"loss \d\.\d{4}", r"[\d,]+ img/s", r"\d+:\d\d", r"test accuracy 0\.\d{4}"):
        assert re.search(part, text), part
    assert "Traceback" not in text


def test_interrupted_run_says_how_to_go_on_and_does(tmp_path: Path, environment: dict[str, str]) -> None:
    arguments = ("--plugin", "constant", "--train-size", "4096", "--epochs", "400", "--run-dir", "run")
    process = start(tmp_path, environment, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and len(metrics.read_text().splitlines()) >= 2):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "Error: interrupted; lrtrain --resume --run-dir run continues the run"
    assert "Traceback" not in err
    longer = ("--resume", "--run-dir", "run", "--epochs", "800", "--on-schedule-change", "keep")
    process = start(tmp_path, environment, *longer, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    done = len(metrics.read_text().splitlines())
    while len(metrics.read_text().splitlines()) <= done:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    epochs = [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()]
    assert epochs == list(range(len(epochs)))
