"""The compiled evaluation: the mean loss and metrics on a test set, part after part, on every device of the mesh."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from lrtrain.engine.program import Program, compiled, each_run
from lrtrain.engine.state import Means, Pair, TestSet, Tree


def evaluate(program: Program, measured: Pair, test: TestSet) -> Means:
    """Returns the mean loss and metrics on a test set."""
    means: Means = evaluation(program)(program, measured, test)
    return means


def evaluation(program: Program) -> jax.stages.Wrapped:
    """Returns ``evaluate`` as it is compiled."""
    return compiled(_evaluate, program)


def _evaluate(program: Program, measured: Pair, test: TestSet) -> Means:
    def on_device(measured: Pair, test: TestSet) -> Means:
        def run(measured: Pair) -> Means:
            split = jax.tree.map(lambda values: values.reshape(*program.test, *values.shape[1:]), test)
            sums_of = functools.partial(_sums_of_part, program, measured)
            zeros = jax.tree.map(lambda sum_: jnp.zeros(sum_.shape, sum_.dtype), jax.eval_shape(sums_of, _first(split)))
            sums = lax.scan(lambda sums, part: (jax.tree.map(jnp.add, sums, sums_of(part)), None), zeros, split)[0]
            total, means = program.total(sums)
            return {name: value / total for name, value in means.items()}

        return each_run(program, run)(measured)

    return program.on_mesh(on_device, program.of_run, program.of_test)(measured, test)


def _first(split: Tree) -> Tree:
    return jax.tree.map(lambda values: values[0], split)


def _sums_of_part(program: Program, measured: Pair, part: TestSet) -> tuple[jax.Array, Means]:
    """Returns the sum of the weights of a part of the test set, and those of the loss and the metrics."""
    inputs, targets, weights = part
    outputs = program.rules.outputs(measured, inputs)
    each = {"loss": program.rules.workload.loss(outputs, targets), **program.rules.workload.metrics(outputs, targets)}
    return jnp.sum(weights), {name: jnp.sum(weights * values) for name, values in each.items()}
