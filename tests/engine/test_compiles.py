"""What XLA compiles: the step once, whatever the schedules, and in a second process nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SPECS = [
    "sgdr(cycles=2)",
    "constant(value=1e-3)",
    "linear(init_value=1e-3)",
    "cosine-decay(init_value=1e-3)",
    "exponential-decay(init_value=1e-3, decay_rate=0.5, transition_steps=1ep)",
]
# The engine's programs; all others are small ones, such as the table of a schedule.
ENGINE = ["jit(_evaluate)", "jit(_init)", "jit(_run_chunk)"]

TRAIN = """
import json, sys, threading
from collections import defaultdict
from pathlib import Path
from lrtrain.engine.devices import keep_compiled

keep_compiled()
import jax

data_dir, run_dir, *specs = sys.argv[1:]
done = defaultdict(list)
# Every program gives the one event; what is found in the cache directory gives the other just before, in its thread.
found = threading.local()

def on_event(event, **_):
    if event == "/jax/compilation_cache/cache_hits":
        found.flag = True

def on_duration(event, _, fun_name="", **__):
    if event == "/jax/core/compile/backend_compile_duration":
        done["loaded" if getattr(found, "flag", False) else "compiled"].append(fun_name)
        found.flag = False

jax.monitoring.register_event_listener(on_event)
jax.monitoring.register_event_duration_secs_listener(on_duration)
import lrtrain

for index, spec in enumerate(specs):
    done.clear()
    lrtrain.train(
        spec,
        dataset="tiny",
        data_dir=Path(data_dir),
        batch_size=32,
        train_size=70,
        epochs=2,
        run_dir=f"{run_dir}/{index}",
    )
    print(json.dumps({"compiled": sorted(done["compiled"]), "loaded": sorted(done["loaded"])}))
"""


def programs(tiny: Path, directory: Path, name: str, specs: list[str]) -> list[dict[str, list[str]]]:
    """Trains once with each spec in one new process; returns the programs that each call compiled, or loaded."""
    command = [sys.executable, "-c", TRAIN, str(tiny), str(directory / name), *specs]
    environment = {**os.environ, "LRTRAIN_CACHE_DIR": str(directory / "cache")}
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, env=environment)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_one_compilation_serves_every_schedule_and_every_later_process(tiny: Path, tmp_path: Path) -> None:
    first, *others, again = programs(tiny, tmp_path, "first", [*SPECS, SPECS[-1]])
    assert [name for name in first["compiled"] if name in ENGINE] == ENGINE
    assert [name for call in others for name in call["compiled"] + call["loaded"] if name in ENGINE] == []
    assert again["compiled"] == []
    assert not set(again["loaded"]) & set(ENGINE), "what this process has compiled is not even loaded"

    later = programs(tiny, tmp_path, "later", SPECS[:2])
    assert [call["compiled"] for call in later] == [[], []]
    assert [name for name in later[0]["loaded"] if name in ENGINE] == ENGINE
    # A checkpoint compiles nothing: besides the engine's, only what makes the key and the schedule's table.
    assert len(later[0]["loaded"]) < len(ENGINE) + 5
