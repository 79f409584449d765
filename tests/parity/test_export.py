"""Exported code in PyTorch's own scheduler and in a Keras optimizer, in processes where lrtrain cannot be imported."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lrtrain.schedules.export.api import write
from tests.schedule_examples import ALL, source_of

STEPS = 235
ALONE = """
import sys
sys.modules["lrtrain"] = None  # importing it is an error
import importlib
import numpy as np
sys.path.insert(0, sys.argv[1])
count, steps = int(sys.argv[2]), int(sys.argv[3])
modules = (importlib.import_module(f"exported_{index}") for index in range(count))
"""
RUN_TORCH = """
import torch
found = []
for module in modules:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=module.BASE_LR)
    scheduler = module.make_scheduler(optimizer)
    applied = []
    for _ in range(steps):
        applied.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    found.append(applied)
np.save(sys.argv[1] + "/found.npy", found)
"""
RUN_KERAS = """
import keras
from keras import ops
found = []
for module in modules:
    classes = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__]
    (schedule,) = [each() for each in classes]
    loaded = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert type(loaded) is type(schedule) and loaded.get_config() == schedule.get_config()
    optimizer = keras.optimizers.SGD(learning_rate=loaded)
    variable = keras.Variable(np.zeros(1, "float32"))
    optimizer.build([variable])
    applied = []
    for step in range(steps):
        optimizer.iterations.assign(step)
        applied.append(float(ops.convert_to_numpy(optimizer.learning_rate)))
    found.append(applied)
np.save(sys.argv[1] + "/found.npy", found)
"""


def run_alone(tmp_path: Path, to: str, script: str, **environment: str) -> np.ndarray:
    """Returns the learning rates of all the examples, as their exported code gives them in a process of its own."""
    for index, spec in enumerate(ALL):
        (tmp_path / f"exported_{index}.py").write_text(write(source_of(spec, STEPS), to), encoding="utf-8")
    command = [sys.executable, "-c", ALONE + script, str(tmp_path), str(len(ALL)), str(STEPS)]
    subprocess.run(command, check=True, env={**os.environ, **environment})
    return np.load(tmp_path / "found.npy")


@pytest.mark.slow
def test_torch_applies_the_table(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="it is run where PyTorch is installed: `uv run nox --session parity`")
    for spec, found in zip(ALL, run_alone(tmp_path, "torch", RUN_TORCH), strict=True):
        np.testing.assert_allclose(found, source_of(spec, STEPS).values, rtol=1e-6, atol=1e-12, err_msg=spec)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_keras_applies_the_table(tmp_path: Path, backend: str) -> None:
    """Keras computes in float32, whose rounding errors are relative to the highest learning rate."""
    for name in ("keras", backend):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"it is run where {name} is installed: `uv run nox --session parity`")
    for spec, found in zip(ALL, run_alone(tmp_path, "keras", RUN_KERAS, KERAS_BACKEND=backend), strict=True):
        values = source_of(spec, STEPS).values
        np.testing.assert_allclose(found, values, rtol=0, atol=1e-6 * float(values.max()), err_msg=spec)
