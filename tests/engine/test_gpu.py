"""What only a GPU can show: ``JAX_PLATFORMS=cuda pytest tests/engine/test_gpu.py``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from lrtrain.data import Split
from lrtrain.engine.command_buffers import command_buffer_options
from lrtrain.engine.engine import Engine
from lrtrain.engine.optimizers import optimizer
from lrtrain.engine.population import Population
from lrtrain.nn.model import CNN

pytestmark = pytest.mark.skipif(
    "cuda" not in os.environ.get("JAX_PLATFORMS", ""), reason="needs a GPU, and JAX_PLATFORMS=cuda"
)

BATCH, STEPS, RUNS = 64, 6, 5


def synthetic(examples: int) -> Split:
    rng = np.random.default_rng(examples)
    labels = rng.integers(0, 10, examples)
    images = np.clip(rng.normal(60 + 10 * labels[:, None, None, None], 40, (examples, 28, 28, 1)), 0, 255)
    return Split(images.astype(np.uint8), labels)


TRAIN, TEST = synthetic(BATCH * STEPS), synthetic(101)
ORDER, WEIGHTS = np.arange(BATCH * STEPS).reshape(STEPS, BATCH), np.ones((STEPS, BATCH))
RATES = np.stack([np.linspace(2e-4, 0, STEPS) * scale for scale in (1, 0.5, 2, 0, 1)])
SEEDS = [0, 0, 1, 2, 0]


def alone(seed: int, rates: np.ndarray) -> np.ndarray:
    engine = Engine(CNN(), optimizer("sgd"), TRAIN, TEST, batch_size=BATCH)
    return np.asarray(engine.run_steps(engine.init(seed), ORDER, WEIGHTS, rates)[1])


def test_runs_side_by_side_are_as_alone() -> None:
    # By default products of float32 keep 10 bits of each operand there.
    with jax.default_matmul_precision("highest"):
        population = Population(CNN(), optimizer("sgd"), TRAIN, TEST, batch_size=BATCH, runs=RUNS)
        assert population.width == RUNS
        every = (np.stack([values] * RUNS) for values in (ORDER, WEIGHTS))
        losses = np.asarray(population.run_steps(population.init(SEEDS), *every, RATES)[1])
        expected = np.stack([alone(seed, rates) for seed, rates in zip(SEEDS, RATES, strict=True)])
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    np.testing.assert_allclose(losses[0], losses[4], rtol=1e-4)


def test_runs_of_one_seed_share_their_batches() -> None:
    with jax.default_matmul_precision("highest"):
        population = Population(CNN(), optimizer("sgd"), TRAIN, TEST, batch_size=BATCH, runs=RUNS)
        seeds, once = [0] * RUNS, (ORDER[None], WEIGHTS[None])
        assert population.shared_seeds(seeds) == [0]
        losses = np.asarray(population.run_steps(population.init(seeds), *once, RATES, shared=True)[1])
        expected = np.stack([alone(0, rates) for rates in RATES])
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_loops_in_command_buffers_change_no_loss() -> None:
    assert command_buffer_options("gpu") is not None, "this driver refuses them"
    with jax.default_matmul_precision("highest"):
        engine = Engine(CNN(), optimizer("sgd"), TRAIN, TEST, batch_size=BATCH, command_buffers=False)
        losses = np.asarray(engine.run_steps(engine.init(0), ORDER, WEIGHTS, RATES[0])[1])
        np.testing.assert_allclose(alone(0, RATES[0]), losses, rtol=1e-4)


def run(directory: Path, platform: str) -> list[dict[str, float]]:
    command = [sys.executable, "-m", "lrtrain", "--plugin", "cosine_decay", "--epochs", "2", "--train-size", "2560"]
    env = {**os.environ, "JAX_PLATFORMS": platform, "JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    done = subprocess.run([*command, "--run-dir", str(directory)], check=False, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_run_is_that_of_a_cpu(tmp_path: Path) -> None:
    on_gpu, on_cpu = run(tmp_path / "gpu", "cuda"), run(tmp_path / "cpu", "cpu")
    assert [each["learning_rate"] for each in on_gpu] == [each["learning_rate"] for each in on_cpu]
    for name in ("train_loss", "test_loss"):
        np.testing.assert_allclose([e[name] for e in on_gpu], [e[name] for e in on_cpu], rtol=1e-3)
