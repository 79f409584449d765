"""All of lrtrain on a workload that ships: an epoch of `lrtrain.train`, as `benchmarks.competitors.lrtrain_run`."""

from __future__ import annotations

from functools import partial

from benchmarks.competitors import Train
from benchmarks.competitors.lrtrain_run import Halting
from benchmarks.problem import Problem
from benchmarks.workload_problem import (
    CHAR_LM,
    GROUPNORM_RESNET,
    MLP,
    POOLED_CONVNET,
    RESNET,
    TRANSFORMER,
    made,
    read,
)

# Of a real run: one that is long enough for lrtrain to choose its devices by a measurement.
_EPOCHS = 20


def make(problem: Problem, name: str) -> Train:
    given = read(problem.directory, name)
    setting, (inputs, targets) = given.setting, (given.train.inputs, given.train.targets)
    first = slice(setting.batch)
    options = {
        "workload": made(setting, train=(inputs, targets), test=(inputs[first], targets[first])),
        "batch_size": setting.batch,
        "epochs": _EPOCHS,
    }
    return Halting(problem, [f"constant(value={setting.learning_rate})"], options)


make_resnet, make_char_lm = (partial(make, name=name) for name in (RESNET, CHAR_LM))
make_own_mlp, make_own_convnet, make_own_resnet, make_own_decoder = (
    partial(make, name=name) for name in (MLP, POOLED_CONVNET, GROUPNORM_RESNET, TRANSFORMER)
)
