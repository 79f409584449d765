"""Networks with a state and random streams, of Linen and of nnx: everything that holds for the default one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from lrtrain import Classification, NextToken, Regression, Workload
from lrtrain.data import Split
from lrtrain.engine.engine import Engine, TrainState
from lrtrain.engine.optimizers import optimizer
from lrtrain.engine.order import epoch_order
from lrtrain.engine.population import Population

BATCH, STEPS = 32, 6
RATES = np.array([0.1, 0.05, 0.1, 0.02, 0.1, 0.05], np.float32)


class LinenNet(nn.Module):
    norm: bool = False
    rate: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.Dense(16)(x)
        if self.norm:
            x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        x = nn.Dropout(self.rate, deterministic=not train)(nn.relu(x))
        return nn.Dense(5)(x)


class NnxNet(nnx.Module):
    def __init__(self, norm: bool = False, rate: float = 0.0, *, rngs: nnx.Rngs) -> None:
        self.inner = nnx.Linear(7, 16, rngs=rngs)
        self.norm = nnx.BatchNorm(16, momentum=0.9, rngs=rngs) if norm else None
        self.dropout = nnx.Dropout(rate, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(16, 5, rngs=rngs)])

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.inner(x)
        if self.norm is not None:
            x = self.norm(x)
        x = self.dropout(nnx.relu(x))
        for layer in self.layers:
            x = layer(x)
        return x


class FromTo(nn.Module):
    """Tokens to logits."""

    @nn.compact
    def __call__(self, tokens: jax.Array, deterministic: bool) -> jax.Array:
        x = nn.Dropout(0.1, rng_collection="noise")(nn.Embed(11, 8)(tokens), deterministic=deterministic)
        return nn.Dense(11)(x)


class Line(nn.Module):
    """Two arrays to a number."""

    @nn.compact
    def __call__(self, x: dict[str, jax.Array]) -> jax.Array:
        return nn.Dense(1, use_bias=False)(jnp.concatenate([x["a"], x["b"]], -1))[..., 0]


def nnx_net(**options: Any) -> Callable[[nnx.Rngs], NnxNet]:
    return lambda rngs: NnxNet(**options, rngs=rngs)


NETS: dict[str, Callable[..., Any]] = {"linen": LinenNet, "nnx": nnx_net}


def examples(count: int, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, count)
    centres = np.random.default_rng(9).normal(size=(5, 7))
    return Split((centres[labels] + rng.normal(size=(count, 7))).astype(np.float32), labels)


TRAIN, TEST = examples(BATCH * STEPS - 5, 0), examples(101, 1)


def make(model: Any, devices: int = 1, workload: Workload | None = None, **options: Any) -> Engine:
    options = {"batch_size": BATCH, "chunk_steps": STEPS, "loss_reduction": "mean", **options}
    data = options.pop("data", (TRAIN, TEST))
    chosen = optimizer(options.pop("name", "momentum"))
    return Engine(model, chosen, *data, devices=jax.devices("cpu")[:devices], workload=workload, **options)


def order_of(seed: int = 0, count: int = len(TRAIN)) -> tuple[np.ndarray, np.ndarray]:
    return epoch_order(seed, 0, count, BATCH, shuffle=True)


def trained(engine: Engine, steps: slice = slice(None), state: TrainState | None = None) -> tuple[np.ndarray, Any]:
    order, weights = order_of()
    state, losses = engine.run_steps(state or engine.init(0), order[steps], weights[steps], RATES[steps])
    return np.asarray(losses), state


def arrays(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def assert_equal(one: Any, other: Any, **tolerance: float) -> None:
    for a, b in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_allclose(a, b, **tolerance) if tolerance else np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("norm", [False, True])
def test_stopped_and_continued_to_the_same_bits(kind: str, norm: bool) -> None:
    engine = make(NETS[kind](norm=norm, rate=0.3), devices=2, ema=0.9)
    losses, state = trained(engine)
    first, middle = trained(engine, slice(0, 2))
    stored = jax.tree.map(np.array, jax.device_get(middle))
    rest, end = trained(engine, slice(2, None), engine.place(stored))
    np.testing.assert_array_equal(np.concatenate([first, rest]), losses)
    assert_equal(end, state)


@pytest.mark.parametrize("kind", NETS)
def test_dropout_is_the_same_on_one_device_and_on_two_and_in_micro_batches(kind: str) -> None:
    one, expected = trained(make(NETS[kind](rate=0.5)))
    for options in ({"devices": 2}, {"devices": 2, "micro_batch": 3}, {"micro_batch": 5}):
        losses, state = trained(make(NETS[kind](rate=0.5), **options))
        np.testing.assert_allclose(losses, one, rtol=2e-5)
        assert_equal(state.params, expected.params, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", NETS)
def test_dropout_differs_between_steps_examples_and_seeds(kind: str) -> None:
    engine = make(NETS[kind](rate=0.5), name="sgd")
    same = np.zeros((2, BATCH), np.int32)
    losses = np.asarray(engine.run_steps(engine.init(0), same, np.ones((2, BATCH)), np.zeros(2))[1])
    assert losses[0] != losses[1]
    one_example = np.eye(BATCH, dtype=np.float32)[:2]
    by_place = np.asarray(engine.run_steps(engine.init(0), same, one_example, np.zeros(2))[1])
    assert by_place[0] != by_place[1]
    evaluated = [engine.evaluate(engine.init(0))["loss"] for _ in range(2)]
    assert evaluated[0] == evaluated[1]


def test_batch_norm_is_that_of_flax_called_directly() -> None:
    model, engine = LinenNet(norm=True), make(LinenNet(norm=True), name="sgd")
    losses, state = trained(engine)
    variables = model.init(jax.random.PRNGKey(0), TRAIN.inputs[:1], train=False)
    params, stats, order = variables["params"], variables["batch_stats"], order_of()
    for index, rate in enumerate(RATES):
        part, weights = order[0][index], order[1][index]

        def loss(params: Any, part: Any = part, weights: Any = weights, stats: Any = stats) -> Any:
            logits, after = model.apply(
                {"params": params, "batch_stats": stats}, TRAIN.inputs[part], train=True, mutable=["batch_stats"]
            )
            each = optax.softmax_cross_entropy_with_integer_labels(logits, TRAIN.targets[part])
            return jnp.sum(weights * each) / weights.sum(), after["batch_stats"]

        (value, stats), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        params = jax.tree.map(lambda p, g, rate=rate: p - rate * g, params, gradients)
        assert losses[index] == pytest.approx(float(value), rel=1e-5)
    assert_equal(state.network["batch_stats"], stats, rtol=1e-4, atol=1e-6)
    logits = model.apply({"params": params, "batch_stats": stats}, TEST.inputs, train=False)
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, TEST.targets).mean()
    np.testing.assert_allclose(engine.evaluate(state)["loss"], expected, rtol=1e-4)


@pytest.mark.parametrize("kind", NETS)
def test_statistics_are_those_of_a_devices_share(kind: str) -> None:
    """Their mean over the devices is kept, and with accumulation those of one part come after those of another."""
    shares, state = trained(make(NETS[kind](norm=True), devices=2))
    parts, in_parts = trained(make(NETS[kind](norm=True), accumulate=2))
    whole, _ = trained(make(NETS[kind](norm=True)))
    # The same halves of each batch, so the same losses; the running averages move twice with parts.
    np.testing.assert_allclose(shares, parts, rtol=1e-4)
    assert not np.allclose(shares, whole, rtol=1e-4)
    assert not np.allclose(arrays(state.network)[0], arrays(in_parts.network)[0], rtol=1e-3)


def test_statistics_over_the_devices_where_the_network_asks_for_it() -> None:
    class Synchronised(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array, training: bool) -> jax.Array:
            return nn.Dense(5)(nn.BatchNorm(use_running_average=not training, axis_name="data")(x))

    one, two = (trained(make(Synchronised(), devices=devices)) for devices in (1, 2))
    np.testing.assert_allclose(one[0], two[0], rtol=1e-5)
    assert_equal(one[1].network, two[1].network, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("runs_per_device", [1, 2, None])
def test_a_population_is_its_runs_alone(kind: str, norm: bool, runs_per_device: int | None) -> None:
    model = NETS[kind](norm=norm, rate=0.3)
    options: dict[str, Any] = {"batch_size": BATCH, "chunk_steps": STEPS, "loss_reduction": "mean"}
    devices = jax.devices("cpu")[:2]
    population = Population(
        model, optimizer("momentum"), TRAIN, TEST, devices=devices, runs_per_device=runs_per_device, **options
    )
    seeds = [0, 3, 3, 5][: population.width]
    orders, weights = map(np.stack, zip(*map(order_of, seeds), strict=True))
    rates = np.stack([RATES * (1 + index) for index in range(len(seeds))])
    state, losses = population.run_steps(population.init(seeds), orders, weights, rates)
    means = population.evaluate(state)
    engine = make(model)
    for index, seed in enumerate(seeds):
        alone, expected = engine.run_steps(engine.init(seed), orders[index], weights[index], rates[index])
        np.testing.assert_allclose(np.asarray(losses)[index], np.asarray(expected), rtol=1e-4)
        np.testing.assert_allclose(means["loss"][index], engine.evaluate(alone)["loss"], rtol=1e-3)


def test_an_nnx_module_brings_its_own_parameters() -> None:
    module = NnxNet(rngs=nnx.Rngs(7))
    params = make(module).init(3).params
    np.testing.assert_array_equal(params["inner"]["kernel"], module.inner.kernel[...])
    assert not np.array_equal(params["inner"]["kernel"], make(NnxNet).init(3).params["inner"]["kernel"])


def test_the_moving_average_is_evaluated() -> None:
    engine, plain = make(LinenNet(), ema=0.5), make(LinenNet())
    average = plain.init(0).params
    state, order = engine.init(0), order_of()
    for index in range(STEPS):
        step = slice(index, index + 1)
        state, _ = engine.run_steps(state, order[0][step], order[1][step], RATES[step])
        average = jax.tree.map(lambda a, p: 0.5 * a + 0.5 * p, average, state.params)
    assert_equal(state.average, average, rtol=1e-5, atol=1e-7)
    expected = plain.evaluate(TrainState(average, (), jnp.int32(0)))
    np.testing.assert_allclose(engine.evaluate(state)["loss"], expected["loss"], rtol=1e-5)


def test_the_moving_average_does_not_change_training() -> None:
    assert_equal(trained(make(LinenNet(), ema=0.5))[1].params, trained(make(LinenNet()))[1].params)


@pytest.mark.parametrize("workload", [Classification(), NextToken()])
def test_label_smoothing_is_that_of_optax_in_training_alone(workload: Workload) -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(3, 4, 5)).astype(np.float32), rng.integers(0, 5, (3, 4))
    if isinstance(workload, Classification):
        logits, labels = logits[:, 0], labels[:, 0]
    smoothed = workload.smoothed(0.1)
    each = optax.softmax_cross_entropy(logits, optax.smooth_labels(jax.nn.one_hot(labels, 5), 0.1))
    np.testing.assert_allclose(smoothed.training_loss(logits, labels), each.reshape(3, -1).mean(-1), rtol=1e-5)
    np.testing.assert_array_equal(smoothed.loss(logits, labels), workload.loss(logits, labels))


def test_tokens_and_a_stream_of_another_name() -> None:
    tokens = np.random.default_rng(0).integers(0, 11, (64, 9))
    data = (Split(tokens[:, :-1], tokens[:, 1:]), Split(tokens[:20, :-1], tokens[:20, 1:]))
    engine = make(FromTo(), workload=NextToken(), data=data, devices=2)
    order, weights = order_of(count=64)
    state, losses = engine.run_steps(engine.init(0), order, weights, RATES[:2])
    assert np.asarray(losses)[0] == pytest.approx(np.log(11), rel=0.2)
    means = engine.evaluate(state)
    logits = FromTo().apply({"params": jax.device_get(state.params)}, data[1].inputs, deterministic=True)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, data[1].targets).mean()
    np.testing.assert_allclose(means["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(means["bits_per_token"], loss / np.log(2), rtol=1e-5)
    np.testing.assert_allclose(means["accuracy"], (logits.argmax(-1) == data[1].targets).mean(), rtol=1e-5)


def test_trees_of_inputs_and_targets_that_are_no_classes() -> None:
    rng = np.random.default_rng(0)
    inputs = {"a": rng.normal(size=(64, 2)).astype(np.float32), "b": rng.normal(size=(64, 3)).astype(np.float32)}
    weights = np.arange(1, 6, dtype=np.float32)
    targets = np.concatenate([inputs["a"], inputs["b"]], -1) @ weights
    split = Split(inputs, targets)
    engine = make(Line(), workload=Regression(), data=(split, split), devices=2, name="sgd")
    order, ones = order_of(count=64)
    state = engine.init(0)
    for _ in range(100):
        state, _ = engine.run_steps(state, order, ones, RATES[:2])
    np.testing.assert_allclose(state.params["Dense_0"]["kernel"][:, 0], weights, rtol=1e-3)
    assert float(engine.evaluate(state)["loss"]) < 1e-4


def test_augmentation_is_of_seed_step_and_place() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Noisy(Classification):
        def augment(self, raw: Any, key: jax.Array) -> Any:
            return raw + jax.random.normal(key, raw.shape)

    plain, noisy = make(LinenNet()), make(LinenNet(), workload=Noisy())
    losses, state = trained(noisy)
    again, two = trained(make(LinenNet(), workload=Noisy(), devices=2, micro_batch=7))
    np.testing.assert_allclose(losses, again, rtol=2e-5)
    assert_equal(state.params, two.params, rtol=1e-4, atol=1e-6)
    assert not np.allclose(losses, trained(plain)[0], rtol=1e-3)
    np.testing.assert_allclose(noisy.evaluate(plain.init(0))["loss"], plain.evaluate(plain.init(0))["loss"])


@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_all_of_it_in_bfloat16(kind: str) -> None:
    class Half(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array, train: bool) -> jax.Array:
            half = {"dtype": jnp.bfloat16, "param_dtype": jnp.bfloat16}
            x = nn.BatchNorm(use_running_average=not train, **half)(nn.Dense(16, **half)(x))
            return nn.Dense(5, **half)(nn.relu(x))

    class HalfNnx(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            half = {"dtype": jnp.bfloat16, "param_dtype": jnp.bfloat16}
            self.layer = nnx.Linear(7, 16, **half, rngs=rngs)
            self.norm = nnx.BatchNorm(16, **half, rngs=rngs)
            self.last = nnx.Linear(16, 5, **half, rngs=rngs)

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.last(nnx.relu(self.norm(self.layer(x))))

    engine = make({"linen": Half(), "nnx": HalfNnx}[kind], devices=2, name="adam", ema=0.9)
    before = jax.tree.map(lambda leaf: leaf.dtype, engine.init(0))
    losses, state = trained(engine)
    assert jax.tree.map(lambda leaf: leaf.dtype, state) == before
    assert losses.dtype == np.float32
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert np.isfinite(engine.evaluate(state)["loss"])
