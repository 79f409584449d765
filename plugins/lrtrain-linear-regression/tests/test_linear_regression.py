"""The expected losses against simulated ones, and the data against the distribution that it is drawn from."""

from importlib.metadata import entry_points

import jax
import numpy as np
import pytest
from lrtrain_linear_regression import (
    LinearRegression,
    best_constant_rate,
    expected_losses,
    largest_stable_rate,
    spectrum,
)

from lrtrain import DataContext, UsageError

SMALL = LinearRegression(dim=6, exponent=1.2, noise=0.7)
STEPS = 120
RATES = {
    "constant": np.full(STEPS, 0.2),
    "decaying": 0.6 * (1 - np.arange(STEPS) / STEPS),
    "warm": 0.5 * np.minimum(np.arange(STEPS) / 30, 1),
    "none": np.zeros(STEPS),
}


def simulated(rates, batch_size):
    """Runs SGD on new Gaussian examples; returns the loss without noise before each step, for each repetition."""
    dim, exponent, noise, repetitions = 6, 1.2, 0.7, 1500
    random = np.random.default_rng(7)
    variances = np.array([1 / i**exponent for i in range(1, dim + 1)])
    weights = np.zeros((repetitions, dim))
    losses = []
    for rate in [*rates, 0]:
        losses.append(0.5 * ((weights - 1) ** 2 @ variances))
        inputs = random.normal(0, np.sqrt(variances), (repetitions, batch_size, dim))
        targets = inputs @ np.ones(dim) + random.normal(0, noise, (repetitions, batch_size))
        errors = np.einsum("rbd,rd->rb", inputs, weights) - targets
        weights = weights - rate * np.einsum("rb,rbd->rd", errors, inputs) / batch_size
    return np.array(losses)


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("rates", RATES.values(), ids=RATES)
def test_the_expected_losses_are_those_of_a_simulation_at_every_step(rates, batch_size):
    rates = rates if batch_size > 1 else rates / 3
    got = expected_losses(SMALL, rates, batch_size=batch_size)
    losses = simulated(rates, batch_size)
    assert got.shape == (STEPS + 1,)
    assert got.dtype == np.float64
    errors = losses.std(axis=1, ddof=1) / np.sqrt(losses.shape[1])
    # 121 steps that depend on each other: more than 4.5 standard errors at any of them is not chance.
    assert (np.abs(losses.mean(axis=1) - got) <= 4.5 * errors + 1e-12).all()
    # So narrow that a wrong factor (B + 1) / B, or 2 instead of 1 before the trace, is found.
    assert (errors[1:] <= 0.05 * got[1:]).all()


def test_with_batches_without_end_it_is_gradient_descent():
    rates, variances = RATES["decaying"], spectrum(SMALL)
    left = np.cumprod([np.ones(6), *(1 - np.outer(rates, variances))], axis=0)
    np.testing.assert_allclose(expected_losses(SMALL, rates, batch_size=10**15), 0.5 * left**2 @ variances, rtol=1e-9)


def test_one_direction_and_batches_of_one_by_hand():
    workload = LinearRegression(dim=1, noise=2.0)
    # E[(1 - r x^2)^2] = 1 - 2 r + 3 r^2, and r^2 times the noise's variance of 4.
    np.testing.assert_allclose(expected_losses(workload, [0.25], batch_size=1), [0.5, (0.6875 + 0.25) / 2], rtol=1e-15)


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_up_to_the_largest_stable_rate_the_loss_is_bounded(batch_size):
    rate = largest_stable_rate(SMALL, batch_size=batch_size)
    below, above = (
        expected_losses(SMALL, np.full(2000, share * rate), batch_size=batch_size) for share in (0.98, 1.02)
    )
    assert below[-1] == pytest.approx(below[-100], rel=0.01)
    assert above[-1] > 1.01 * above[-100]


def test_a_rate_that_is_much_too_high_has_an_infinite_loss_and_no_warning():
    assert expected_losses(SMALL, np.full(2000, 50.0))[-1] == np.inf


@pytest.mark.parametrize("steps", [1, 50, 1000])
def test_no_constant_rate_of_a_grid_is_better_than_the_best_one(steps):
    best = best_constant_rate(SMALL, steps, batch_size=4)
    lowest = expected_losses(SMALL, np.full(steps, best), batch_size=4)[-1]
    grid = np.linspace(0, largest_stable_rate(SMALL, batch_size=4), 200)
    losses = [expected_losses(SMALL, np.full(steps, rate), batch_size=4)[-1] for rate in grid]
    assert lowest <= min(losses) * (1 + 1e-6)


def test_best_constant_rate_needs_a_step():
    with pytest.raises(UsageError, match="steps=0 is refused"):
        best_constant_rate(SMALL, 0)


def test_the_default_learning_rate_is_near_the_best_one_and_four_times_it_is_stable():
    workload = LinearRegression()
    rate, steps = workload.defaults.learning_rate, workload.examples // workload.defaults.batch_size
    assert workload.examples == steps * workload.defaults.batch_size
    assert 0.5 < rate / best_constant_rate(workload, steps) < 1
    assert 4 * rate < largest_stable_rate(workload)


@pytest.fixture(scope="module")
def data():
    return LinearRegression().data(DataContext())


def test_shapes_and_types(data):
    for split, size in ((data.train, 16_000), (data.test, 200)):
        assert (split.inputs.shape, split.inputs.dtype) == ((size, 100), np.float32)
        assert (split.targets.shape, split.targets.dtype) == ((size, 1), np.float32)
    assert data.validation is data.test


def test_the_examples_have_the_spectrum_and_the_noise(data):
    workload = LinearRegression()
    np.testing.assert_allclose(spectrum(workload), [i**-1.5 for i in range(1, 101)], rtol=1e-12)
    inputs = data.train.inputs.astype(np.float64) / np.sqrt(spectrum(workload))
    covariance = inputs.T @ inputs / len(inputs)
    assert np.abs(covariance - np.eye(100)).max() < 5.5 * np.sqrt(2 / len(inputs))
    noise = data.train.targets[:, 0].astype(np.float64) - data.train.inputs.astype(np.float64).sum(1)
    assert abs(noise.mean()) < 4.5 / np.sqrt(len(noise))
    assert abs(noise.var() - 1) < 4.5 * np.sqrt(2 / len(noise))


def test_the_data_is_a_function_of_the_seed(data):
    assert LinearRegression().data(DataContext()).identity() == data.identity()
    assert LinearRegression().data(DataContext()).train.digest() == data.train.digest()
    assert LinearRegression(seed=1).data(DataContext()).train.digest() != data.train.digest()
    # The first numbers of RandomState(0), times the deviations.
    known = np.array([1.7640523, 0.4001572, 0.978738]) * [1, 2**-0.75, 3**-0.75]
    np.testing.assert_allclose(data.train.inputs[0, :3], known, rtol=1e-6)


def test_the_network_begins_at_zero_and_the_test_loss_is_the_expected_one_exactly(data):
    workload = LinearRegression()
    network = workload.network(data)
    variables = network.init(jax.random.key(3), workload.inputs(data.test.inputs))
    assert jax.tree.map(np.shape, variables) == {"params": {"kernel": (100, 1)}}
    np.testing.assert_array_equal(variables["params"]["kernel"], 0)
    losses = workload.loss(network.apply(variables, data.test.inputs), data.test.targets)
    assert (losses.shape, losses.dtype) == ((200,), np.float32)
    np.testing.assert_allclose(losses.mean(), expected_losses(workload, [])[0], rtol=1e-6)
    weights = np.random.default_rng(0).normal(size=100)
    losses = workload.loss((data.test.inputs @ weights)[:, None], data.test.targets)
    np.testing.assert_allclose(losses.mean(), 0.5 * spectrum(workload) @ (weights - 1) ** 2, rtol=1e-5)
    np.testing.assert_allclose(workload.guess(data.test.targets), spectrum(workload).sum() / 2, rtol=1e-6)


def test_the_gradient_of_the_mean_loss_is_that_of_the_derivation(data):
    workload = LinearRegression()
    network, inputs, targets = workload.network(data), data.train.inputs[:16], data.train.targets[:16]
    variables = network.init(jax.random.key(0), inputs)
    gradient = jax.grad(lambda it: workload.loss(network.apply(it, inputs), targets).mean())(variables)
    np.testing.assert_allclose(gradient["params"]["kernel"], -inputs.T @ targets / 16, rtol=1e-4, atol=1e-5)


def test_examples_and_a_model_that_are_given_in_python_are_taken(data):
    pair, model = (np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)), object()
    assert LinearRegression(train=pair, test=pair).data(DataContext()).train.inputs is pair[0]
    assert LinearRegression(model=model).network(data) is model


def test_the_entry_point_names_the_workload():
    (entry,) = entry_points(group="lrtrain.workloads", name="linear-regression")
    assert entry.load() is LinearRegression
