"""Every schedule's runs on `linear-regression` have the losses that theory expects, and `compare` orders them so."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from lrtrain_linear_regression import LinearRegression, expected_losses
from numpy.typing import NDArray

import lrtrain
from lrtrain.data.types import Dataset
from lrtrain.engine.optimizers import optimizer
from lrtrain.engine.population import Population
from lrtrain.plugins.loading import activate
from lrtrain.schedules.table import build_table, make_context
from tests.schedule_examples import EXAMPLES

RUNS, STEPS, BATCH = 256, 40, LinearRegression.defaults.batch_size
# Each run has examples of its own, so that the runs are independent, as the theory has them.
MANY = LinearRegression(dim=20, examples=RUNS * STEPS * BATCH)
FACTOR = MANY.defaults.learning_rate / 1e-4
# The default's peak is the higher the shorter the run, and too high for so few steps.
SPECS = {"noam": "noam(factor=15)"}
# Of the mean over the runs: a share of the steps of all schedules, which depend on each other, is beyond four.
STANDARD_ERRORS = 5


def learning_rates(spec: str, steps: int) -> NDArray[np.float32]:
    return build_table(activate([spec], factor=FACTOR), make_context(steps)).values


@pytest.fixture(scope="module")
def data() -> Dataset:
    return MANY.data(lrtrain.DataContext())


@pytest.fixture(scope="module")
def population(data: Dataset) -> Population:
    return Population(
        MANY.network(data),
        optimizer("sgd"),
        data.train,
        data.test,
        batch_size=BATCH,
        workload=MANY,
        loss_reduction="mean",
        chunk_steps=1,
        devices=jax.local_devices()[:1],
        runs_per_device=RUNS,
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_losses_of_every_step_are_the_expected_ones(name: str, population: Population) -> None:
    rates = learning_rates(SPECS.get(name, EXAMPLES[name][0]), STEPS)
    order = np.arange(MANY.examples).reshape(RUNS, STEPS, BATCH)
    state, weights = population.init([0] * RUNS), np.ones((RUNS, 1, BATCH))
    losses = [np.asarray(population.evaluate(state)["loss"])]
    for step, rate in enumerate(rates):
        state, _ = population.run_steps(state, order[:, [step]], weights, np.full((RUNS, 1), rate))
        losses.append(np.asarray(population.evaluate(state)["loss"]))
    found = np.array(losses, np.float64)
    expected = expected_losses(MANY, rates, batch_size=BATCH)
    errors = found.std(axis=1, ddof=1) / np.sqrt(RUNS)
    assert (np.abs(found.mean(axis=1) - expected) <= STANDARD_ERRORS * errors + 1e-6 * expected).all()
    # So narrow that a wrong table of learning rates is found.
    assert np.median(errors / expected) < 0.03


def test_a_comparison_finds_what_theory_knows(tmp_path: Path) -> None:
    """The scale that tuning picks is about the best of those tried, and the verdict is the expected one."""
    workload, names = LinearRegression(dim=20, examples=1600), ("constant", "linear")
    comparison = lrtrain.compare(
        *names, workload="linear-regression(dim=20, examples=1600)", seeds=8, run_dir=tmp_path / "compared"
    )
    expected = {
        name: {scale: final_loss(workload, name, scale) for scale in comparison.tuned[name].costs} for name in names
    }
    for name, by_scale in expected.items():
        picked = final_loss(workload, name, comparison.tuned[name].best)
        assert picked < 1.5 * min(by_scale.values())
        assert picked < 0.3 * max(by_scale.values())
    lowest = {name: min(by_scale.values()) for name, by_scale in expected.items()}
    assert lowest["linear"] < 0.8 * lowest["constant"]
    (difference,) = comparison.evidence.differences
    assert (difference.first, difference.second, difference.verdict) == ("constant", "linear", "worse")


def final_loss(workload: LinearRegression, name: str, scale: float) -> float:
    rates = scale * learning_rates(name, workload.examples // BATCH)
    return float(expected_losses(workload, rates, batch_size=BATCH)[-1])
