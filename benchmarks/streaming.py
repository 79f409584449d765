"""What streaming costs: an epoch on data that the devices hold, and on batches that Grain reads from the files.

Run ``python -m benchmarks.streaming``. The two, and the reading alone, are timed in turn (A B C A B C), each in a
process of its own that sleeps while the others run: the tutorial's network, batch 256, plain SGD, Fashion-MNIST. An
epoch is timed from its first step to its last loss, without evaluation and checkpoint. Prints JSON lines: the machine,
one for each of the three, and the ratio of the two.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.step import one_round, processor
from lrtrain.data import find_dataset
from lrtrain.devices import select_devices, usable_cores
from lrtrain.engine import Engine, Streamed
from lrtrain.model import CNN
from lrtrain.optimizers import optimizer
from lrtrain.order import epoch_order

BATCH = 256
LEARNING_RATE = 1e-4
KEPT, STREAMED, READ = "kept on the devices", "streamed", "read only"


def runner(name: str, dataset: str, train_size: int | None) -> tuple[int, Callable[[int], None]]:
    """Returns the number of examples, and a function that trains (or only reads) an epoch."""
    source, devices = find_dataset(dataset), select_devices(None, BATCH)
    data: Any = source.load(train_size) if name == KEPT else source.stream(train_size)
    engine = Engine(
        CNN(data.num_classes),
        optimizer("sgd"),
        data.train if name == KEPT else Streamed(data.train.image_shape),
        data.test,
        batch_size=BATCH,
        devices=devices,
    )
    state = engine.init(0)
    engine.compile()

    def chunks(order: Any, weights: Any) -> Iterator[Any]:
        if name != KEPT:
            return data.train.chunks(order, weights, engine.chunk_steps)
        return (order[begin : begin + engine.chunk_steps] for begin in range(0, len(order), engine.chunk_steps))

    def run(epoch: int) -> None:
        nonlocal state
        order, weights = epoch_order(0, epoch, len(data.train), BATCH, shuffle=True)
        waiting: Any = None
        for index, examples in enumerate(chunks(order, weights)):
            part = weights[index * engine.chunk_steps :][: engine.chunk_steps]
            if name == READ:
                continue
            state, losses = engine.run_steps(state, examples, part, np.full(len(part), LEARNING_RATE))
            if waiting is not None:
                np.asarray(waiting)
            waiting = losses
        if waiting is not None:
            np.asarray(waiting)

    return len(data.train), run


def worker(arguments: argparse.Namespace) -> None:
    """Warms up, then times an epoch for each line on stdin."""
    examples, run = runner(arguments.worker, arguments.dataset, arguments.train_size)
    run(0)
    print(examples, flush=True)
    for epoch, _ in enumerate(sys.stdin, start=1):
        start = time.perf_counter()
        run(epoch)
        print(time.perf_counter() - start, flush=True)


def start_worker(name: str, arguments: list[str]) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "benchmarks.streaming", *arguments, "--worker", name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--train-size", type=int, help="examples in an epoch; all by default")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments)
        return
    workers = {name: start_worker(name, sys.argv[1:]) for name in (KEPT, STREAMED, READ)}
    times: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(arguments.rounds):
        for name, (process, _) in workers.items():
            times[name].append(one_round(process))
    for process, _ in workers.values():
        process.communicate()
    names = ("jax", "jaxlib", "grain", "array-record", "tensorflow-datasets", "numpy")
    machine = {"processor": processor(), "cores": usable_cores(), "python": platform.python_version()}
    print(json.dumps({**machine, **{name: version(name) for name in names}}))
    for name, seconds in times.items():
        examples, median = workers[name][1], statistics.median(seconds)
        speed = round(examples / median)
        about = {"seconds": round(median, 3), "lowest": round(min(seconds), 3), "highest": round(max(seconds), 3)}
        print(json.dumps({"epoch": name, "examples": examples, **about, "examples_per_second": speed}))
    ratios = [streamed / kept for streamed, kept in zip(times[STREAMED], times[KEPT], strict=True)]
    print(json.dumps({
        "streamed / kept": round(statistics.median(ratios), 3),
        "by round": [round(ratio, 3) for ratio in ratios],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
