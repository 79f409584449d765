"""How fast a training step is: lrtrain's engine, a jitted step called from Python, and the tutorial's un-jitted loop.

Run ``python -m benchmarks.step``. The three are timed in turn, in one process, on data of Fashion-MNIST's shape: the
tutorial's network, batch 256, plain SGD, summed loss. Both baselines are written as a user would write them, on the one
device that JAX shows by default, which uses all cores.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrtrain.devices import select_devices, usable_cores
from lrtrain.engine import Engine
from lrtrain.model import CNN
from lrtrain.optimizers import optimizer
from lrtrain.order import epoch_order

BATCH = 256
EXAMPLES = 10_240
LEARNING_RATE = 1e-4
FLOP_PER_STEP = BATCH * 2 * (28 * 28 * 9 * (2 * 1 * 32 + 3 * 32 * 16) + 3 * 28 * 28 * 16 * 10)


class Data(NamedTuple):
    images: np.ndarray
    labels: np.ndarray


class TutorialCNN(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Conv(features=32, kernel_size=(3, 3), padding="SAME", name="CONV1")(x))
        x = nn.relu(nn.Conv(features=16, kernel_size=(3, 3), padding="SAME", name="CONV2")(x))
        return nn.Dense(10, name="DENSE")(x.reshape((x.shape[0], -1)))


def synthetic(examples: int) -> Data:
    rng = np.random.default_rng(0)
    return Data(
        rng.integers(0, 256, (examples, 28, 28, 1), dtype=np.uint8), rng.integers(0, 10, examples).astype(np.int32)
    )


def loss_of(params: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
    logits = TutorialCNN().apply({"params": params}, images)
    return optax.softmax_cross_entropy(logits, jax.nn.one_hot(labels, 10)).sum()


def engine_runner(data: Data, steps: int, micro_batch: int | None) -> Callable[[], None]:
    engine = Engine(
        CNN(),
        optimizer("sgd"),
        data,
        data,
        batch_size=BATCH,
        devices=select_devices(None, BATCH),
        micro_batch=micro_batch,
        chunk_steps=steps,
    )
    order, weights = epoch_order(0, 0, EXAMPLES, BATCH, True)
    state = engine.init(0)

    def run() -> None:
        nonlocal state
        state, losses = engine.run_steps(state, order[:steps], weights[:steps], np.full(steps, LEARNING_RATE))
        losses.block_until_ready()

    return run


def looped_runner(data: Data, steps: int, wrap: Callable[[Any], Any]) -> Callable[[], None]:
    """A Python loop over batches; ``wrap`` is jax.jit, or nothing as in the tutorial."""
    images, labels = jnp.asarray(data.images / np.float32(255)), jnp.asarray(data.labels)
    tx = optax.sgd(LEARNING_RATE)
    params = TutorialCNN().init(jax.random.PRNGKey(0), images[:1])["params"]
    opt_state = tx.init(params)

    def step(params: Any, opt_state: Any, x: jax.Array, y: jax.Array) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(params, x, y)
        updates, opt_state = tx.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    step = wrap(step)

    def run() -> None:
        nonlocal params, opt_state
        for i in range(steps):
            x, y = images[i * BATCH : (i + 1) * BATCH], labels[i * BATCH : (i + 1) * BATCH]
            params, opt_state, _ = step(params, opt_state, x, y)
        jax.block_until_ready(params)

    return run


def matmul_rate() -> Callable[[], float]:
    """Returns a function that measures multiply-adds in flight on all devices at once, in GFLOP/s."""
    size = 1536
    multiply = jax.jit(lambda a: a @ a)
    operands = [jax.device_put(np.ones((size, size), np.float32), device) for device in jax.local_devices()]
    jax.block_until_ready([multiply(a) for a in operands])

    def measure() -> float:
        start = time.perf_counter()
        jax.block_until_ready([multiply(a) for a in operands])
        return len(operands) * 2 * size**3 / (time.perf_counter() - start) / 1e9

    return measure


def processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def report(times: dict[str, list[float]], rates: list[float]) -> None:
    print(f"{processor()}, {usable_cores()} usable cores; {', '.join(map(str, jax.local_devices()))}")
    names = ("jax", "jaxlib", "flax", "optax", "numpy")
    print(f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names))
    rate = statistics.median(rates)
    limit = FLOP_PER_STEP / rate / 1e6
    print(f"matmul {rate:.0f} GFLOP/s ({min(rates):.0f} to {max(rates):.0f}), at which a step takes {limit:.1f} ms")
    engine = statistics.median(times["lrtrain engine"])
    print(f"{'':28}{'median':>9}{'lowest':>9}{'highest':>9}{'/ engine':>10}{'of limit':>10}   ms a step")
    for name, values in times.items():
        median = statistics.median(values)
        spread = f"{min(values):9.1f}{max(values):9.1f}"
        print(f"{name:28}{median:9.1f}{spread}{median / engine:9.2f}x{limit / median:10.0%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds, after one of warm-up")
    parser.add_argument("--steps", type=int, default=20, help="steps in a round")
    parser.add_argument("--micro-batch", type=int, default=None)
    arguments = parser.parse_args()
    data, steps = synthetic(EXAMPLES), arguments.steps
    runners = {
        "lrtrain engine": engine_runner(data, steps, arguments.micro_batch),
        "jitted step, called": looped_runner(data, steps, jax.jit),
        "tutorial's loop, not jitted": looped_runner(data, steps, lambda step: step),
    }
    measure = matmul_rate()
    times: dict[str, list[float]] = {name: [] for name in runners}
    rates = []
    for round_number in range(arguments.rounds + 1):
        rates.append(measure())
        for name, run in runners.items():
            start = time.perf_counter()
            run()
            if round_number > 0:
                times[name].append((time.perf_counter() - start) / steps * 1e3)
    report(times, rates)


if __name__ == "__main__":
    main()
