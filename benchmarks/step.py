"""How fast a training step is: lrtrain's engine, a jitted step called from Python, and the tutorial's un-jitted loop.

Run ``python -m benchmarks.step``. The three are timed in turn (A B C A B C), each in a process of its own that sleeps
while the others run, on data of Fashion-MNIST's shape: the tutorial's network, batch 256, plain SGD, summed loss. Both
baselines are written as a user would write them, on the one device that JAX shows by default, which uses all cores.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
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
ENGINE, JITTED, TUTORIAL = "lrtrain engine", "jitted step, called", "tutorial's loop, not jitted"
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
    """Returns a function that measures the rate of a large matrix product on all cores, in GFLOP/s."""
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


def worker(name: str, arguments: argparse.Namespace) -> None:
    """Warms one competitor up, then times a round for each line on stdin: milliseconds a step, or GFLOP/s."""
    data, steps = synthetic(EXAMPLES), arguments.steps
    if name == "matmul":
        run: Callable[[], Any] = matmul_rate()
    elif name == ENGINE:
        run = engine_runner(data, steps, arguments.micro_batch)
    else:
        run = looped_runner(data, steps, jax.jit if name == JITTED else lambda step: step)
    run()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        rate = run()
        print(rate if name == "matmul" else (time.perf_counter() - start) / steps * 1e3, flush=True)


def start_worker(name: str, arguments: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.step", *arguments, "--worker", name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready", f"{name} failed"
    return process


def one_round(process: subprocess.Popen[str]) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def report(times: dict[str, list[float]]) -> None:
    rates = times.pop("matmul")
    rate = statistics.median(rates)
    limit = FLOP_PER_STEP / rate / 1e6
    names = ("jax", "jaxlib", "flax", "optax", "numpy")
    print(f"{processor()}, {usable_cores()} usable cores")
    print(f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names))
    print(f"matmul {rate:.0f} GFLOP/s ({min(rates):.0f} to {max(rates):.0f}), at which a step takes {limit:.1f} ms")
    print(f"{'ms a step':28}{'median':>9}{'lowest':>9}{'highest':>9}{'/ engine':>10}{'(by round)':>18}{'of limit':>10}")
    for name, values in times.items():
        ratios = [value / engine for value, engine in zip(values, times[ENGINE], strict=True)]
        median = statistics.median(values)
        print(
            f"{name:28}{median:9.1f}{min(values):9.1f}{max(values):9.1f}"
            f"{median / statistics.median(times[ENGINE]):9.2f}x"
            f"{f'{min(ratios):.2f} to {max(ratios):.2f}':>18}{limit / median:10.0%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=20, help="steps in a round")
    parser.add_argument("--micro-batch", type=int, default=None)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments)
        return
    workers = {name: start_worker(name, sys.argv[1:]) for name in ("matmul", ENGINE, JITTED, TUTORIAL)}
    times: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(arguments.rounds):
        for name, process in workers.items():
            times[name].append(one_round(process))
    for process in workers.values():
        process.communicate()
    report(times)


if __name__ == "__main__":
    main()
