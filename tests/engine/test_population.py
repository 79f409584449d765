from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrtrain.data import Split
from lrtrain.engine import training_step
from lrtrain.engine.engine import Engine
from lrtrain.engine.optimizers import optimizer
from lrtrain.engine.order import epoch_order
from lrtrain.engine.population import Population, bytes_of_run, runs_that_fit
from lrtrain.engine.program import Chunk
from lrtrain.engine.state import Leaves
from lrtrain.nn.conv import operations
from lrtrain.nn.model import CNN
from lrtrain.nn.network import network_of
from lrtrain.workloads.kinds import Classification
from lrtrain.workloads.workload import Workload

DECAYING = "adamw(weight_decay=0.5, mask=matrices)"
BATCH, STEPS, CHUNK = 48, 7, 4


class PlainCNN(nn.Module):
    """With a convolution that is slow in a loop on CPU, and so is run outside any."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Conv(4, (3, 3))(x))
        return nn.Dense(10)(x.reshape(x.shape[0], -1))


class Dense(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(10)(x.reshape(x.shape[0], -1))


class Drops(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return Dense()(nn.Dropout(0.4, deterministic=not train)(x))


class Flips(Classification):
    """Mirrors half of the images, those that the seed, the step and the place in the batch choose."""

    def augment(self, inputs: Any, key: jax.Array) -> Any:
        return jnp.where(jax.random.bernoulli(key), inputs[:, ::-1], inputs)


class Member(NamedTuple):
    """A run of a population: its seed, and the learning rate of each step."""

    seed: int
    rates: np.ndarray


def synthetic(examples: int, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, examples)
    images = np.clip(rng.normal(60 + 10 * labels[:, None, None, None], 40, (examples, 8, 9, 1)), 0, 255)
    return Split(images.astype(np.uint8), labels)


RATES = np.linspace(2e-4, 0, STEPS, dtype=np.float32)
TRAIN, TEST = synthetic(BATCH * STEPS - 20, 0), synthetic(101, 1)
MEMBERS = [
    Member(0, np.linspace(2e-4, 0, STEPS, dtype=np.float32)),
    Member(0, 0.5 * np.linspace(2e-4, 0, STEPS, dtype=np.float32)),
    Member(1, np.full(STEPS, 1e-4, np.float32)),
    Member(2, np.geomspace(2e-4, 1e-5, STEPS, dtype=np.float32)),
    Member(7, np.zeros(STEPS, np.float32)),
]


def order_of(member: Member) -> tuple[np.ndarray, np.ndarray]:
    return epoch_order(member.seed, 0, len(TRAIN.targets), BATCH, shuffle=True)


def alone(member: Member, model: nn.Module, name: str) -> tuple[np.ndarray, Any, tuple[float, float]]:
    engine = Engine(
        model, optimizer(name), TRAIN, TEST, batch_size=BATCH, devices=jax.devices("cpu")[:1], chunk_steps=STEPS
    )
    state, losses = engine.run_steps(engine.init(member.seed), *order_of(member), member.rates)
    means = engine.evaluate(state)
    return np.asarray(losses), jax.device_get(state), (float(means["loss"]), float(means["accuracy"]))


def make(model: nn.Module | None = None, name: str = "sgd", devices: int = 2, **options: Any) -> Population:
    options = {"batch_size": BATCH, "chunk_steps": CHUNK, **options}
    return Population(model or CNN(), optimizer(name), TRAIN, TEST, devices=jax.devices("cpu")[:devices], **options)


def together(population: Population, members: list[Member]) -> tuple[np.ndarray, Any, list[tuple[float, float]]]:
    state = population.init([member.seed for member in members])
    orders, weights = map(np.stack, zip(*map(order_of, members), strict=True))
    losses = []
    for begin in range(0, STEPS, CHUNK):
        part = slice(begin, begin + CHUNK)
        rates = np.stack([member.rates[part] for member in members])
        state, some = population.run_steps(state, orders[:, part], weights[:, part], rates)
        losses.append(np.asarray(some))
    means = jax.device_get(population.evaluate(state))
    results = np.stack([means["loss"], means["accuracy"]], axis=1)
    return np.concatenate(losses, axis=1), state, [tuple(row) for row in results[: len(members)]]


def assert_same_as_alone(population: Population, members: list[Member], model: nn.Module, name: str) -> None:
    losses, state, results = together(population, members)
    for index, member in enumerate(members):
        its_losses, its_state, its_results = alone(member, model, name)
        np.testing.assert_allclose(losses[index], its_losses, rtol=1e-5)
        np.testing.assert_allclose(results[index], its_results, rtol=1e-5)
        jax.tree.map(
            lambda all_of, its: np.testing.assert_allclose(all_of[index], its, rtol=1e-4, atol=1e-5),  # noqa: B023
            state,
            its_state,
        )


@pytest.mark.parametrize(("name", "count"), [("sgd", 2), ("sgd", 1), ("adam", 2), (DECAYING, 2)])
def test_a_run_on_each_core_is_as_alone(name: str, count: int) -> None:
    population = make(name=name)
    assert population.width == 2
    assert_same_as_alone(population, MEMBERS[1 : 1 + count], CNN(), name)


@pytest.mark.parametrize(("devices", "runs_per_device", "count"), [(1, 3, 3), (2, 2, 4), (2, 2, 3)])
def test_runs_side_by_side_on_a_device_are_as_alone(devices: int, runs_per_device: int, count: int) -> None:
    population = make(name="momentum", devices=devices, runs_per_device=runs_per_device)
    assert population.width == devices * runs_per_device
    assert_same_as_alone(population, MEMBERS[:count], CNN(), "momentum")


def paired(
    model: nn.Module, name: str, seeds: list[int], workload: Workload | None = None, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the losses of runs that share their batches, and those of the same runs alone."""
    population = make(model, name, workload=workload, **options)
    device = jax.devices("cpu")[:1]
    alone = Engine(model, optimizer(name), TRAIN, TEST, batch_size=BATCH, workload=workload, devices=device)
    shared = population.shared_seeds(seeds)
    assert shared is not None
    orders, weights = map(np.stack, zip(*(order_of(Member(seed, RATES)) for seed in shared), strict=True))
    rates = np.stack([RATES / (1 + place) for place in range(len(seeds))])
    state, losses = population.init(seeds), []
    for begin in range(0, STEPS, CHUNK):
        part = slice(begin, begin + CHUNK)
        batches = orders[:, part], weights[:, part]
        state, some = population.run_steps(state, *batches, rates[:, part], shared=True)
        losses.append(np.asarray(some))
    expected = [
        np.asarray(alone.run_steps(alone.init(seed), *order_of(Member(seed, its)), its)[1])
        for seed, its in zip(seeds, rates, strict=True)
    ]
    return np.concatenate(losses, axis=1), np.stack(expected)


@pytest.mark.parametrize(
    ("devices", "runs_per_device", "seeds"),
    [(1, 3, [4, 4, 4]), (1, 3, [4]), (2, 2, [4, 4, 1, 1]), (2, 2, [4, 4, 1]), (2, 2, [4, 4])],
)
def test_runs_of_one_seed_share_their_batches(devices: int, runs_per_device: int, seeds: list[int]) -> None:
    losses, expected = paired(CNN(), "momentum", seeds, devices=devices, runs_per_device=runs_per_device)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "workload"),
    [(Drops(), None), (Dense(), Flips()), (PlainCNN(), None)],
    ids=["draws at random", "augmented", "no loop"],
)
def test_shared_batches_of_any_network(model: nn.Module, workload: Workload | None) -> None:
    losses, expected = paired(model, "adam", [3, 3], workload, devices=1, runs_per_device=2)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert not np.allclose(losses[0], losses[1], rtol=1e-4)


def test_whose_batches_are_shared() -> None:
    two = make(devices=2, runs_per_device=2)
    assert two.shared_seeds([1, 1, 2, 2]) == [1, 2]
    assert two.shared_seeds([1, 1, 2]) == [1, 2]
    assert two.shared_seeds([1, 2, 2]) is None
    assert make(devices=2).shared_seeds([1, 1]) is None, "a device with one run has nothing to share"


@pytest.mark.parametrize(("shared", "lead"), [(True, ()), (False, (3,))])
def test_the_first_layer_is_one_product_and_the_examples_are_gathered_once(shared: bool, lead: tuple[int, ...]) -> None:
    """What depends on the shared batches alone has no axis of runs in the program."""
    population, images = make(Dense(), devices=1, runs_per_device=3), TRAIN.inputs.shape[1:]
    program = dataclasses.replace(population._engine._program, shared_batches=shared)
    batches = (1 if shared else 3, CHUNK, BATCH)
    chunk: Any = Chunk(jnp.zeros(batches, jnp.int32), jnp.ones(batches), jnp.ones((3, CHUNK)))
    carry = population.init([0]), jnp.zeros((3, CHUNK))
    jaxpr = jax.make_jaxpr(training_step._run_chunk, static_argnums=0)(
        program, carry, population._engine._train, chunk, jnp.full(3, CHUNK, jnp.int32)
    )
    every = list(operations(jaxpr))
    gathered = [each.outvars[0].aval.shape for each in every if each.primitive.name == "gather"]
    assert {shape for shape in gathered if shape[-3:] == images} == {(*lead, BATCH, *images)}
    products = [each for each in every if each.primitive.name == "dot_general"]
    operands = {each.aval.shape for product in products for each in product.invars}
    assert (*lead, BATCH, math.prod(images)) in operands
    assert ((3,) if shared else ()) + (BATCH, math.prod(images)) not in operands


def test_another_size_has_the_same_data() -> None:
    two = make(devices=1, runs_per_device=2)
    three = two.sized(3)
    assert (two.width, three.width) == (2, 3)
    assert three._engine._train is two._engine._train
    assert_same_as_alone(three, MEMBERS[:3], CNN(), "sgd")


def test_a_model_that_is_run_outside_loops() -> None:
    assert_same_as_alone(make(PlainCNN()), MEMBERS[:2], PlainCNN(), "sgd")


def test_a_diverging_run_leaves_the_others_alone() -> None:
    members = [Member(0, np.full(STEPS, np.inf, np.float32)), MEMBERS[2]]
    losses, _, results = together(make(), members)
    assert not np.isfinite(losses[0, 2:]).any()
    np.testing.assert_allclose(losses[1], alone(MEMBERS[2], CNN(), "sgd")[0], rtol=1e-5)
    assert np.isfinite(results[1]).all()


def test_the_same_bits_in_either_place() -> None:
    population = make()
    forward = together(population, MEMBERS[:2])[0]
    backward = together(population, MEMBERS[1::-1])[0]
    np.testing.assert_array_equal(forward, backward[::-1])


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Collects the names of the functions that JAX compiles meanwhile."""
    names: list[str] = []

    def note(event: str, duration: float, **details: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(details.get("fun_name", "?"))

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


@pytest.mark.parametrize("runs_per_device", [1, 2])
def test_one_compilation_for_all_runs(runs_per_device: int) -> None:
    jax.clear_caches()
    with compilations() as first:
        together(make(runs_per_device=runs_per_device), MEMBERS[:2])
    assert len([name for name in first if "run_" in name]) == 1, first
    with compilations() as later:
        for members in (MEMBERS[2:4], MEMBERS[4:]):
            together(make(runs_per_device=runs_per_device), members)
    assert [name for name in later if "run_" in name or "evaluate" in name] == []


def test_no_more_places_than_runs() -> None:
    assert make(runs=1).width == 1
    assert make(runs=3, runs_per_device=8).width == 4
    assert make(runs=100, runs_per_device=8).width == 16


def test_too_many_runs() -> None:
    with pytest.raises(ValueError, match="at most 2 runs at once, got 3"):
        make().init([0, 1, 2])


def device(platform: str, **memory: int) -> Any:
    return SimpleNamespace(platform=platform, memory_stats=lambda: memory or None)


def test_the_runs_that_fit_follow_from_the_memory() -> None:
    assert runs_that_fit(device("gpu", bytes_limit=1000, bytes_in_use=200), 100) == 6
    assert runs_that_fit(device("gpu", bytes_limit=1000), 100) == 8
    assert runs_that_fit(device("gpu", bytes_limit=50), 100) == 1
    assert runs_that_fit(device("gpu"), 100) == 1
    assert runs_that_fit(device("cpu", bytes_limit=1000), 100) == 1


def test_the_memory_of_a_run_is_no_less_than_what_must_be_kept() -> None:
    def needed(name: str, batch: int = BATCH) -> int:
        images = Leaves.of(np.zeros((1, 28, 28, 1), np.uint8), batch)
        return bytes_of_run(network_of(CNN()), Classification(), optimizer(name), images)

    parameters = 3 * 3 * 32 + 32 + 3 * 3 * 32 * 16 + 16 + 28 * 28 * 16 * 10 + 10
    activations = BATCH * 28 * 28 * (32 + 16)
    sgd, adam = map(needed, ("sgd", "adam"))
    assert sgd > 4 * (2 * parameters + activations)
    # Adam keeps two more values for each parameter, and a step reads and writes them.
    assert adam - sgd == pytest.approx(4 * 2 * 2 * parameters, rel=1e-3)
    assert needed("sgd", 2 * BATCH) > 1.8 * (sgd - 8 * parameters)
