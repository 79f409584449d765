"""The problem that every competitor trains: the same examples, in the same order, from the same initial weights.

``python -m benchmarks.problem DIRECTORY EXAMPLES`` writes it, so that a process without JAX can read it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BATCH = 256
LEARNING_RATE = 1e-4
ALL_EXAMPLES = 60_000
# Multiplications and additions of the products; the first layer's images need no gradient.
FLOP_PER_STEP = BATCH * 2 * (28 * 28 * 9 * (2 * 1 * 32 + 3 * 32 * 16) + 3 * 28 * 28 * 16 * 10)
# What each competitor trains before it is timed, and what its loss is compared over.
FIRST_STEPS = 2

_FILE = "problem.npz"
_LAYERS = ("CONV1", "CONV2", "DENSE")


@dataclass(frozen=True, eq=False)
class Split:
    """Images uint8[examples, 28, 28, 1] and labels int32[examples], as lrtrain has them; it is not imported here."""

    inputs: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)


class Problem(NamedTuple):
    """The input of a competitor."""

    directory: Path
    """For files that it needs; removed at the end."""
    train: Split
    test: Split
    params: dict[str, dict[str, np.ndarray]]
    """Initial weights as Flax names and shapes them: kernels are height, width, in, out."""
    rounds: int
    """How often it will be timed."""

    def batch(self, step: int) -> slice:
        """Returns which examples a step takes, if all batches are full: in file order, again from the beginning."""
        begin = step % (len(self.train.targets) // BATCH) * BATCH
        return slice(begin, begin + BATCH)


def steps_per_epoch(problem: Problem) -> int:
    """Returns the batches of an epoch, the last one not full."""
    return -(-len(problem.train.targets) // BATCH)


class Round(NamedTuple):
    """The result of one round of a competitor."""

    seconds: float
    """Per step."""
    losses: list[float]
    """Mean cross-entropy of an example in each step's batch before its update; one number if it tells only the mean."""
    compilations: int | None = None
    """How often its step has been compiled so far, where that is counted."""
    bare: float | None = None
    """Per step, of a bare loop around the same compiled step right before and after, in the same process; or None."""
    aside: float | None = None
    """Seconds of processor time in an epoch besides XLA's own, where that is measured."""
    bare_aside: float | None = None
    """The same of the bare loop, in an epoch."""


def write(directory: Path, examples: int) -> None:
    """Takes Fashion-MNIST, or ``examples`` of it, from lrtrain's own loader, and weights from its initialisation."""
    import jax

    from lrtrain.data import load_dataset
    from lrtrain.nn.model import CNN

    data = load_dataset("fashion_mnist", train_size=None if examples == ALL_EXAMPLES else examples)
    params = CNN().init(jax.random.PRNGKey(0), np.zeros((1, 28, 28, 1), np.float32))["params"]
    weights = {f"{layer}.{name}": value for layer in params for name, value in params[layer].items()}
    parts = {
        f"{name}.{field}": getattr(split, field) for name, split in _splits(data) for field in ("inputs", "targets")
    }
    np.savez(directory / _FILE, **weights, **parts)


def read(directory: Path, rounds: int) -> Problem:
    """Reads what `write` has written."""
    with np.load(directory / _FILE) as file:
        train, test = (Split(file[f"{name}.inputs"], file[f"{name}.targets"].astype(np.int32)) for name in _SPLITS)
        params = {layer: {name: file[f"{layer}.{name}"] for name in ("kernel", "bias")} for layer in _LAYERS}
    return Problem(directory, train, test, params, rounds)


_SPLITS = ("train", "test")


def _splits(data: Any) -> list[tuple[str, Any]]:
    return [(name, getattr(data, name)) for name in _SPLITS]


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    write(Path(sys.argv[1]), int(sys.argv[2]))
