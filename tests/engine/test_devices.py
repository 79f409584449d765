from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lrtrain import host


def run(code: str, **environment: str) -> str:
    """Runs code in a process of its own, where JAX has not started; warnings are errors there too."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


SELECT = """
import lrtrain.engine.devices as d
d.usable_cores = lambda: {cores}
print(len(d.select_devices({requested}, {batch})))
"""


@pytest.mark.parametrize(
    ("cores", "requested", "batch", "expected"),
    [(3, None, 256, 3), (8, None, 5, 1), (4, 4, 16, 4)],
)
def test_one_device_for_each_core(cores: int, requested: int | None, batch: int, expected: int) -> None:
    assert run(SELECT.format(cores=cores, requested=requested, batch=batch)) == f"{expected}\n"


def test_more_devices_than_there_are() -> None:
    code = """
import lrtrain.engine.devices as d
from lrtrain.errors import UsageError
d.usable_cores = lambda: 2
for requested in (5, 0, -1):
    try:
        d.select_devices(requested, 256)
    except UsageError as error:
        print(error)
"""
    assert run(code).splitlines() == [f"--devices {n}: there are 2 devices of kind cpu" for n in (5, 0, -1)]


def test_a_process_that_has_started_jax_keeps_its_devices_and_is_told_once() -> None:
    code = """
import logging
logging.basicConfig(format="%(message)s")
import jax; jax.devices()
import lrtrain.engine.devices as d
d.usable_cores = lambda: 4
print(len(d.select_devices(None, 256)), len(d.select_devices(None, 256)), len(d.select_devices(1, 256)))
"""
    output = run(code)
    assert output.splitlines()[0] == "1 1 1"
    assert output.count("JAX was in use before lrtrain") == 1


def test_the_number_that_the_user_gave_jax_stands() -> None:
    assert run(SELECT.format(cores=4, requested=None, batch=256), JAX_NUM_CPU_DEVICES="3") == "3\n"
    flag = "--xla_force_host_platform_device_count=2"
    assert run(SELECT.format(cores=4, requested=None, batch=256), XLA_FLAGS=flag) == "2\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="ascii")
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "300000 100000\n"}, 3),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "1600000 100000\n"}, 8),
        ({"cpu.max": "nonsense\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "250000\n"}, 8),
    ],
)
def test_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert host.usable_cores(write(tmp_path, files)) == expected


CACHED = """
import numpy as np
from lrtrain.engine.devices import keep_compiled
keep_compiled()
import jax
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name.rpartition("/")[2]))
import lrtrain.engine.devices as d
d.usable_cores = lambda: 2
from lrtrain.engine.engine import Engine
from lrtrain.nn.model import CNN
from lrtrain.engine.optimizers import optimizer
from lrtrain.data import Split
data = Split(np.zeros((64, 8, 8, 1), np.uint8), np.zeros(64, np.int32))
devices = d.select_devices(None, 32)
engine = Engine(CNN(), optimizer("sgd"), data, data, batch_size=32, devices=devices)
state, losses = engine.run_steps(engine.init(0), np.zeros((3, 32)), np.ones((3, 32)), np.ones(3))
print(len(devices), np.asarray(losses).tolist(), [float(x) for x in engine.evaluate(state).values()])
print("cache_hits" in events, "cache_misses" in events)
"""


def test_compilation_cache_is_hit_by_a_program_for_two_devices(tmp_path: Path) -> None:
    where = {"LRTRAIN_CACHE_DIR": str(tmp_path / "cache")}
    (first, first_cache), (second, second_cache) = (run(CACHED, **where).splitlines() for _ in range(2))
    assert first.startswith("2 ")
    assert second == first
    assert (first_cache, second_cache) == ("False True", "True False")
