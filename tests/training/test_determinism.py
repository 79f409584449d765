"""The same command gives the same bits on one machine, and nearly the same numbers on another number of devices."""

from __future__ import annotations

import csv
from pathlib import Path

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.lab import final_state, process, same_run

EPOCHS, STEPS = 4, 3


def trained(directory: Path, data: Path, devices: int, name: str) -> Path:
    """Trains the default network for a few steps in a process of its own."""
    options = ["--plugin=constant(value=0.002)", "--dataset=tiny", f"--data-dir={data}", "--batch-size=32", "--quiet"]
    options += [f"--epochs={EPOCHS}", f"--devices={devices}", f"--run-dir={name}"]
    result = process(*options, cwd=directory, JAX_NUM_CPU_DEVICES=str(devices))
    assert result.returncode == 0, result.stderr
    return directory / name


def losses(run: Path) -> NDArray[np.float64]:
    with (run / "steps.csv").open(encoding="utf-8") as file:
        return np.array([float(row["loss"]) for row in csv.DictReader(file)])


@pytest.mark.slow
def test_same_bits_on_one_machine_and_near_ones_on_two_devices(tiny: Path, tmp_path: Path) -> None:
    runs = {(count, n): trained(tmp_path, tiny, count, f"{count}-{n}") for count in (1, 2) for n in (0, 1)}
    for count in (1, 2):
        one, other = runs[count, 0], runs[count, 1]
        same_run(one, other)
    assert len(losses(runs[1, 0])) == EPOCHS * STEPS
    # Sums over a batch may be taken in another order: last bits of float32 (6e-8), and what twelve steps make of them.
    np.testing.assert_allclose(losses(runs[2, 0]), losses(runs[1, 0]), rtol=2e-5)
    for left, right in zip(*(jax.tree.leaves(final_state(runs[count, 0])) for count in (1, 2)), strict=True):
        np.testing.assert_allclose(left, right, rtol=2e-5, atol=2e-6)
