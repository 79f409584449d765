from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrtrain.data import Split
from lrtrain.engine.engine import Engine, TrainState
from lrtrain.engine.optimizers import OPTIMIZERS, optimizer
from lrtrain.engine.order import epoch_order
from lrtrain.nn.model import CNN

BATCH = 96
RATES = np.array([1e-3, 2e-3, 5e-4, 0.0, 1e-3], np.float32)


class PlainCNN(nn.Module):
    """The same network and parameter names, with ordinary convolutions."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Conv(32, (3, 3), name="CONV1")(x))
        x = nn.relu(nn.Conv(16, (3, 3), name="CONV2")(x))
        return nn.Dense(10, name="DENSE")(x.reshape(x.shape[0], -1))


class InGroups(nn.Module):
    """A network with a convolution of each channel alone, which XLA:CPU runs element by element in a loop."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Conv(8, (3, 3))(x))
        x = nn.Conv(8, (3, 3), feature_group_count=8)(x)
        return nn.Dense(10)(x.reshape(x.shape[0], -1))


class Scanned(nn.Module):
    """A model with a loop of its own, whose carry begins as a constant."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        rows = jnp.moveaxis(x[..., 0], 1, 0)
        total, _ = jax.lax.scan(lambda carry, row: (carry + jnp.tanh(row), None), jnp.zeros(rows.shape[1:]), rows)
        return nn.Dense(10)(total)


class HalfPrecision(nn.Module):
    """A model whose parameters are bfloat16."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(10, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)(x.reshape(x.shape[0], -1))


class Rematerialised(nn.Module):
    """The default network's layers, computed again for their gradients."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.remat(CNN)()(x)


def synthetic(examples: int, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, examples)
    images = np.clip(rng.normal(60 + 10 * labels[:, None, None, None], 40, (examples, 10, 12, 1)), 0, 255)
    return Split(images.astype(np.uint8), labels)


TRAIN, TEST = synthetic(4 * BATCH + 40, 0), synthetic(203, 1)
ORDER, WEIGHTS = epoch_order(0, 0, len(TRAIN.targets), BATCH, shuffle=True)


def make(devices: int = 2, model: nn.Module | None = None, name: str = "sgd", **options: Any) -> Engine:
    options = {"batch_size": BATCH, "chunk_steps": 8, "micro_batch": 16, **options}
    return Engine(model or CNN(), optimizer(name), TRAIN, TEST, devices=jax.devices("cpu")[:devices], **options)


def losses_of(engine: Engine, chunks: tuple[int, ...] = (5,)) -> tuple[TrainState, np.ndarray]:
    state, done, losses = engine.init(0), 0, []
    for steps in chunks:
        part = slice(done, done + steps)
        state, some = engine.run_steps(state, ORDER[part], WEIGHTS[part], RATES[part])
        losses.append(np.asarray(some))
        done += steps
    return state, np.concatenate(losses)


def mean_loss(params: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
    logits = PlainCNN().apply({"params": params}, images)
    return optax.softmax_cross_entropy(logits, jax.nn.one_hot(labels, 10)).mean()


@functools.cache
def reference(loss_reduction: str = "sum") -> tuple[Any, np.ndarray]:
    """A step as anyone would write it: the whole batch at once, no padding, autodiff of lax.conv, nothing jitted."""
    params = make(1).init(0).params
    losses = []
    for order, weights, rate in zip(ORDER, WEIGHTS, RATES, strict=True):
        real = order[weights == 1]
        images, labels = TRAIN.inputs[real].astype(np.float32) / 255, TRAIN.targets[real]
        loss, gradients = jax.value_and_grad(mean_loss)(params, images, labels)
        factor = rate * (len(real) if loss_reduction == "sum" else 1)
        params = jax.tree.map(lambda p, g, factor=factor: p - factor * g, params, gradients)
        losses.append(float(loss))
    return jax.device_get(params), np.array(losses)


def assert_like_reference(result: tuple[TrainState, np.ndarray], loss_reduction: str = "sum") -> None:
    (state, losses), (params, expected) = result, reference(loss_reduction)
    np.testing.assert_allclose(losses, expected, rtol=2e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), jax.device_get(state.params), params
    )


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("micro_batch", [16, 256])
def test_losses_are_those_of_the_plain_step(devices: int, micro_batch: int) -> None:
    assert_like_reference(losses_of(make(devices, micro_batch=micro_batch)))


def test_devices_micro_batches_and_chunks_change_nothing() -> None:
    _, expected = losses_of(make(1, micro_batch=256))
    for engine, chunks in ((make(2, micro_batch=16), (5,)), (make(1, micro_batch=16), (2, 3)), (make(2), (1, 4))):
        np.testing.assert_allclose(losses_of(engine, chunks)[1], expected, rtol=1e-5)


def test_same_bits_however_the_steps_are_cut_into_chunks() -> None:
    (whole, losses), (parts, again) = losses_of(make(), (5,)), losses_of(make(), (3, 1, 1))
    np.testing.assert_array_equal(losses, again)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(whole), jax.device_get(parts))
    assert int(whole.step) == 5


def test_gradient_of_the_mean() -> None:
    assert_like_reference(losses_of(make(loss_reduction="mean")), "mean")
    with pytest.raises(ValueError, match="loss_reduction is 'sum' or 'mean', got 'max'"):
        make(loss_reduction="max")


def test_batches_that_do_not_divide_evenly() -> None:
    """97 examples on two devices are 2 x 4 x 13 places."""
    order, weights = epoch_order(0, 0, len(TRAIN.targets), 97, shuffle=True)
    results = []
    for engine in (make(2, batch_size=97), make(1, batch_size=97, micro_batch=97)):
        results.append(np.asarray(engine.run_steps(engine.init(0), order, weights, RATES)[1]))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_any_optimizer(name: str) -> None:
    """The same as optax's update of the mean gradient, with another rate at each step."""
    engine = make(name=name, loss_reduction="mean")
    state, losses = losses_of(engine)
    assert np.isfinite(losses).all()
    assert int(state.step) == 5
    _, alone = losses_of(make(1, name=name, loss_reduction="mean", micro_batch=256))
    np.testing.assert_allclose(losses, alone, rtol=1e-4)


@pytest.mark.parametrize("loss_reduction", ["sum", "mean"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_half_precision(name: str, loss_reduction: str) -> None:
    """A gradient in bfloat16 stays in it: the mean once made it float32, which no state of an optimizer took."""
    engine = make(model=HalfPrecision(), name=name, loss_reduction=loss_reduction)
    before = engine.init(0)
    types = jax.tree.map(lambda leaf: leaf.dtype, before)
    logits = HalfPrecision().apply({"params": before.params}, TRAIN.inputs[ORDER[0]].astype(np.float32) / 255)
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, TRAIN.targets[ORDER[0]]).mean()
    after, losses = losses_of(engine)
    np.testing.assert_allclose(losses[0], float(expected), rtol=0.02)
    assert np.isfinite(losses).all()
    assert jax.tree.map(lambda leaf: leaf.dtype, after) == types


def test_an_optimizer_that_wants_the_loss() -> None:
    plateau = optax.contrib.reduce_on_plateau()
    engine = Engine(CNN(), plateau, TRAIN, TEST, batch_size=BATCH, devices=jax.devices("cpu"))
    _, losses = engine.run_steps(engine.init(0), ORDER, WEIGHTS, RATES)
    np.testing.assert_allclose(losses, losses_of(make())[1], rtol=1e-6)


@pytest.mark.parametrize("devices", [1, 2])
def test_evaluation(devices: int) -> None:
    engine = make(devices)
    state = engine.init(0)
    logits = PlainCNN().apply({"params": jax.device_get(state.params)}, TEST.inputs.astype(np.float32) / 255)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, TEST.targets).mean()
    np.testing.assert_allclose(engine.evaluate(state)["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(
        engine.evaluate(state)["accuracy"], (logits.argmax(-1) == TEST.targets).mean(), rtol=1e-6
    )


@pytest.mark.parametrize("devices", [1, 2])
def test_plain_convolutions_run_in_the_loop(devices: int) -> None:
    engine = make(devices, model=PlainCNN())
    assert engine.looped
    assert_like_reference(losses_of(engine, (2, 3)))


@pytest.mark.parametrize("devices", [1, 2])
def test_convolutions_in_groups_run_outside_any_loop(devices: int) -> None:
    engine = make(devices, model=InGroups())
    assert not engine.looped
    again = make(1, model=InGroups(), micro_batch=96)
    np.testing.assert_allclose(losses_of(engine, (2, 3))[1], losses_of(again)[1], rtol=1e-5)


@pytest.mark.parametrize("devices", [1, 2])
def test_a_model_that_computes_its_layers_again(devices: int) -> None:
    """What computes again stands between barriers, and the engine keeps XLA from removing those early."""
    _, losses = losses_of(make(devices, model=Rematerialised()))
    assert losses[-1] < losses[0]
    again = losses_of(make(1, model=Rematerialised(), micro_batch=96))[1]
    np.testing.assert_allclose(losses, again, rtol=1e-5)


def test_a_model_with_a_loop() -> None:
    _, losses = losses_of(make(2, model=Scanned()))
    np.testing.assert_allclose(losses, losses_of(make(1, model=Scanned(), micro_batch=96))[1], rtol=1e-5)


@contextmanager
def compilations() -> Iterator[list[str]]:
    names: list[str] = []

    def note(name: str, _: float, **details: Any) -> None:
        if name == "/jax/core/compile/backend_compile_duration":
            names.append(str(details.get("fun_name", "?")))

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


@pytest.mark.parametrize("model", [CNN(), PlainCNN(), InGroups()])
def test_one_compilation_for_all_schedules_chunks_and_runs(model: nn.Module) -> None:
    jax.clear_caches()
    with compilations() as first:
        engine = make(model=model.clone())
        engine.compile()
        losses_of(engine)
    assert len([name for name in first if "run_" in name]) == 1, first
    with compilations() as later:
        for run in range(3):
            engine = make(model=model.clone())
            state = engine.init(run)
            for steps in (1, 5, 2):
                state, losses = engine.run_steps(state, ORDER[:steps], WEIGHTS[:steps], RATES[:steps] * run)
                np.asarray(losses)
            state = engine.place(jax.device_get(state))
            engine.run_steps(state, ORDER, WEIGHTS, RATES)
    assert later == []


@pytest.mark.parametrize("model", [CNN(), PlainCNN(), InGroups()])
def test_no_implicit_transfer_between_host_and_device(model: nn.Module) -> None:
    engine = make(model=model)
    state = engine.init(0)
    with jax.transfer_guard("disallow"):
        for _ in range(2):
            state, losses = engine.run_steps(state, ORDER, WEIGHTS, RATES)
            means = engine.evaluate(state)
        assert np.isfinite(np.asarray(losses)).all()
        assert np.isfinite([*jax.device_get(means).values()]).all()


def test_losses_wait_only_when_read() -> None:
    engine = make()
    _, losses = engine.run_steps(engine.init(0), ORDER[:3], WEIGHTS[:3], RATES[:3])
    assert np.asarray(losses).shape == jax.device_get(losses).shape == (3,)
    assert np.asarray(losses, np.float64).dtype == np.float64
    assert losses.block_until_ready() is losses


def test_too_many_steps() -> None:
    engine = make(chunk_steps=4)
    with pytest.raises(ValueError, match="at most 4 steps in a call, got 5"):
        losses_of(engine)
