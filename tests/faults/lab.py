"""What the tests of faults share: real processes that train a small network, and what makes two runs the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.lab import SPEC, ended, same_run

# How many faults of each kind; 0 is the short form, which draws always the same few.
MANY = int(os.environ.get("LRTRAIN_FAULTS", "0"))
full_only = pytest.mark.skipif(not MANY, reason="takes long: part of `nox --session faults`")
EPOCHS, STEPS_PER_EPOCH = 8, 36
# The second hook scales the learning rate too, and both stop acting the same if one update is lost or done twice.
HOOKS = """
@dataclass(frozen=True)
class Plugin:
    "Scales the learning rate after steps and epochs."
    @hookimpl
    def on_step(self, step):
        return ScaleLearningRate(0.9 + step.step / 700) if step.step % 5 in (0, 3) else None
    @hookimpl
    def on_epoch_end(self, history):
        return ScaleLearningRate(1.3 if history[-1].train_loss > 0.5 else 1.1)
"""
MODEL = """
import flax.linen as nn

class Small(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.num_classes)(x.reshape(x.shape[0], -1))
"""


def dice() -> random.Random:
    """Returns what draws the moments: the same in every run of the tests, and printed by a test that fails."""
    return random.Random(int(os.environ.get("LRTRAIN_FAULTS_SEED", "6")))


def how_many(short: int, share: float = 1.0) -> int:
    """Returns how often a fault is tried: ``short`` times in the default set, a share of LRTRAIN_FAULTS in the full."""
    return max(short, round(MANY * share)) if MANY else short


@dataclass
class Lab:
    """Starts processes that train in a directory, and sees to it that none is left."""

    directory: Path
    data: Path
    plugins: tuple[str, ...] = ()
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        site = self.directory / "site"
        site.mkdir(exist_ok=True)
        (site / "small_model.py").write_text(MODEL, encoding="utf-8")

    def options(self, **others: Any) -> dict[str, Any]:
        """Returns the options of a run, as `lrtrain.train` takes them."""
        small = {"batch_size": 2, "epochs": EPOCHS, "optimizer": "adam", "model": "small_model:Small"}
        return {"dataset": "tiny", "data_dir": str(self.data), **small, **others}

    def command(self, run: str | Path, *extra: str, **others: Any) -> list[str]:
        """Returns the arguments that continue a run, or begin it if no process has come so far."""
        if (self.directory / run / "config.json").is_file():
            return ["train", "--resume", "--run-dir", str(run), *extra]
        options = [f"--{name.replace('_', '-')}={value}" for name, value in self.options(**others).items()]
        plugins = [f"--plugin={plugin}" for plugin in (SPEC, *self.plugins)]
        return ["train", *plugins, *options, "--checkpoint-every=10", f"--run-dir={run}", *extra]

    def start(self, arguments: list[str], *, site: str = "site", **options: Any) -> subprocess.Popen[str]:
        """Starts ``lrtrain`` with its output caught."""
        environment = {**os.environ, "PYTHONPATH": str(self.directory / site)}
        if site != "site":
            environment["PYTHONPATH"] += os.pathsep + str(self.directory / "site")
        environment.update(options.pop("env", {}))
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
        command = [*options.pop("before", ()), sys.executable, "-m", "lrtrain", *arguments]
        process = subprocess.Popen(command, cwd=self.directory, env=environment, **pipes, **options)
        self.started.append(process)
        return process

    def run(self, arguments: list[str], **options: Any) -> tuple[int, list[str]]:
        """Runs ``lrtrain`` to its end."""
        return ended(self.start(arguments, **options))

    def complete(self, run: str, *extra: str, **others: Any) -> float:
        """Begins or continues a run, to its end; returns the seconds that it took."""
        began = time.monotonic()
        code, said = self.run(self.command(run, *extra, **others))
        assert code == 0, said
        return time.monotonic() - began

    def close(self) -> None:
        """Ends what is left."""
        for process in self.started:
            process.kill()
            process.communicate()

    def assert_same(self, one: str, other: str) -> None:
        """Compares two complete runs to the last bit."""
        same_run(self.directory / one, self.directory / other)


def kill(process: subprocess.Popen[str], number: int, seconds: float) -> tuple[bool, float, list[str]]:
    """Sends a signal after so many seconds.

    Returns:
      Whether the process was there to get it and ended by it, how long it took to end, and what it said.
    """
    try:
        process.wait(seconds)
        return False, 0.0, ended(process)[1]
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    sent = time.monotonic()
    code, said = ended(process)
    # Python itself has to start before anything can answer a SIGTERM; a shell calls that 143 as well.
    assert code in (0, -number, 128 + number), (code, said)
    return code != 0, time.monotonic() - sent, said


def signal_name(number: int) -> str:
    """Returns the usual name of a signal."""
    return signal.Signals(number).name
