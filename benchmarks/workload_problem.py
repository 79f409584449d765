"""The problem of a workload that ships: its first training examples and the initial weights of its network.

``python -m benchmarks.workload_problem DIRECTORY NAME`` writes it, so that a process without JAX can read it. What is
drawn at random in training (augmentation, dropout) is switched off, for every competitor has to train to equal losses.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.problem import Split


@dataclass(frozen=True)
class Setting:
    """How a workload is trained here.

    Args:
      workload: its class, ``module:name``.
      options: what switches off the random numbers.
      batch: examples in a step.
      examples: how many training examples are taken, from the first; so many that what an epoch takes besides its steps
        is as small a part as in a real one.
      learning_rate: that of every step.
      weight_decay: how much of each weight matrix is added: to its gradient by SGD, to its update by AdamW.
    """

    workload: str
    options: dict[str, Any] = field(default_factory=dict)
    batch: int = 128
    examples: int = 12_800
    learning_rate: float = 0.1
    weight_decay: float = 0.0


RESNET, CHAR_LM = "fashion-mnist-resnet", "char-lm"
MLP, POOLED_CONVNET, GROUPNORM_RESNET = "MLP", "ConvNet with max_pool", "ResNet with GroupNorm"
TRANSFORMER = "Transformer"
SETTINGS = {
    RESNET: Setting("lrtrain_fashion_mnist_resnet:FashionMnistResnet", {"shift": 0, "flip": False}, weight_decay=5e-4),
    CHAR_LM: Setting(
        "lrtrain_char_lm:CharLM", {"dropout": 0.0}, batch=32, examples=3200, learning_rate=1e-3, weight_decay=0.1
    ),
    MLP: Setting("benchmarks.own_networks:OwnMLP", examples=60_000, learning_rate=1e-3),
    POOLED_CONVNET: Setting("benchmarks.own_networks:OwnConvNet", learning_rate=1e-3),
    GROUPNORM_RESNET: Setting("benchmarks.own_networks:OwnResNet", learning_rate=1e-3),
    TRANSFORMER: Setting(
        "benchmarks.own_networks:OwnDecoder", batch=32, examples=3200, learning_rate=1e-3, weight_decay=0.1
    ),
}


class WorkloadProblem(NamedTuple):
    """What is trained."""

    setting: Setting
    train: Split
    params: dict[str, np.ndarray]
    """Initial weights, by names such as ``Block_0.Conv_1.kernel``."""

    def batch(self, step: int) -> slice:
        """Returns which examples a step takes: in the order of the file, again from the beginning."""
        begin = step * self.setting.batch % len(self.train)
        return slice(begin, begin + self.setting.batch)


def made(setting: Setting, **examples: Any) -> Any:
    """Returns the workload, an instance of its class."""
    import importlib

    module, name = setting.workload.split(":")
    return getattr(importlib.import_module(module), name)(**setting.options, **examples)


def write(directory: Path, name: str) -> None:
    """Takes the first examples of a workload, and weights as lrtrain draws them with seed 0."""
    import jax

    from lrtrain import DataContext
    from lrtrain.engine.engine import Engine
    from lrtrain.engine.optimizers import optimizer

    setting = SETTINGS[name]
    workload = made(setting)
    data = workload.data(DataContext())
    engine = Engine(
        workload.network(data), optimizer("sgd"), None, data.test, batch_size=setting.batch, workload=workload
    )
    leaves = jax.tree_util.tree_leaves_with_path(engine.init_alone(0).params)
    weights = {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}
    train = {part: getattr(data.train, part)[: setting.examples] for part in ("inputs", "targets")}
    np.savez(_file(directory, name), **weights, **train)


def read(directory: Path, name: str) -> WorkloadProblem:
    """Reads what `write` has written."""
    with np.load(_file(directory, name)) as file:
        values = dict(file)
    train = Split(values.pop("inputs"), values.pop("targets").astype(np.int32))
    return WorkloadProblem(SETTINGS[name], train, values)


def _file(directory: Path, name: str) -> Path:
    return directory / f"{name.replace(' ', '-')}.npz"


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    for each in sys.argv[2:]:
        write(Path(sys.argv[1]), each)
