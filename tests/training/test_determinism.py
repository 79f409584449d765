"""The same command gives the same bits on one machine, and nearly the same numbers on another number of devices."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

EPOCHS, STEPS = 4, 3


def trained(directory: Path, data: Path, devices: int, name: str) -> Path:
    """Trains the default network for a few steps in a process of its own."""
    options = ["--plugin=constant(value=0.002)", "--dataset=tiny", f"--data-dir={data}", "--batch-size=32", "--quiet"]
    command = [sys.executable, "-m", "lrtrain", *options, f"--epochs={EPOCHS}", f"--devices={devices}"]
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}
    subprocess.run(
        [*command, f"--run-dir={name}"], cwd=directory, env=environment, check=True, capture_output=True, timeout=240
    )
    return directory / name


def losses(run: Path) -> NDArray[np.float64]:
    with (run / "steps.csv").open(encoding="utf-8") as file:
        return np.array([float(row["loss"]) for row in csv.DictReader(file)])


def parameters(run: Path) -> list[NDArray[np.float32]]:
    import jax
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        state = checkpointer.restore(run / "checkpoints" / f"step_{EPOCHS * STEPS}" / "state")
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


@pytest.mark.slow
def test_same_bits_on_one_machine_and_near_ones_on_two_devices(tiny: Path, tmp_path: Path) -> None:
    runs = {(count, n): trained(tmp_path, tiny, count, f"{count}-{n}") for count in (1, 2) for n in (0, 1)}
    for count in (1, 2):
        one, other = runs[count, 0], runs[count, 1]
        assert (one / "steps.csv").read_bytes() == (other / "steps.csv").read_bytes()
        for left, right in zip(parameters(one), parameters(other), strict=True):
            assert left.tobytes() == right.tobytes()
    assert len(losses(runs[1, 0])) == EPOCHS * STEPS
    # Sums over a batch may be taken in another order: last bits of float32 (6e-8), and what twelve steps make of them.
    np.testing.assert_allclose(losses(runs[2, 0]), losses(runs[1, 0]), rtol=2e-5)
    for left, right in zip(parameters(runs[1, 0]), parameters(runs[2, 0]), strict=True):
        np.testing.assert_allclose(left, right, rtol=2e-5, atol=2e-6)
