"""The compiled training: a chunk of steps, each of which applies a learning rate, on every device of the mesh."""

from __future__ import annotations

import functools
import operator

import jax
import jax.numpy as jnp
import optax
from jax import lax

from lrtrain.engine.program import AXIS, REPLICATED, Chunk, Program, compiled, each_run
from lrtrain.engine.state import Batch, Carry, Params, Sums, TrainSet, TrainState, Tree


def run_chunk(program: Program, carry: Carry, train: TrainSet, chunk: Chunk[jax.Array], number: jax.Array) -> Carry:
    """Runs the first ``number`` steps of a chunk in a loop; or, if the program has none, the one step at ``number``.

    The number is int32[] data, so a short chunk compiles nothing; a population has one for each run, and those of one
    device are equal. The carry is donated.
    """
    after: Carry = compiled(_run_chunk, program, donated=(1,))(program, carry, train, chunk, number)
    return after


def _run_chunk(program: Program, carry: Carry, train: TrainSet, chunk: Chunk[jax.Array], numbers: jax.Array) -> Carry:
    def on_device(carry: Carry, train: TrainSet, chunk: Chunk[jax.Array], numbers: jax.Array) -> Carry:
        # With a number for each run, every iteration would choose between old and new state.
        number = jnp.max(numbers)

        def run(carry: Carry, chunk: Chunk[jax.Array]) -> Carry:
            if not program.looped:
                return _step(program, carry, train, chunk, number)
            after: Carry = lax.fori_loop(
                0, number, lambda index, carry: _step(program, carry, train, chunk, index), carry
            )
            return after

        if program.shared_batches:
            chunk = chunk._replace(examples=chunk.examples[0], weights=chunk.weights[0])
        return each_run(program, run, program.mapped)(carry, chunk)

    in_specs = (program.of_run, REPLICATED, Chunk(*program.of_chunk), program.of_run)
    return program.on_mesh(on_device, *in_specs)(carry, train, chunk, numbers)


def _step(program: Program, carry: Carry, train: TrainSet, chunk: Chunk[jax.Array], index: jax.Array) -> Carry:
    """Returns the carry after one step on one device: ``params - learning_rate * update``, and the loss before it."""
    (state, losses), rules = carry, program.rules
    examples, weights, learning_rate = jax.tree.map(lambda values: values[index], chunk)
    sums, network = _accumulate(program, state, train, examples, weights)
    gradients, loss, total = program.total(sums)
    mean_loss = loss / total
    if rules.loss_reduction == "mean":
        gradients, loss = jax.tree.map(lambda g: (g / total).astype(g.dtype), gradients), mean_loss
    transformation = optax.with_extra_args_support(rules.optimizer)
    updates, opt_state = transformation.update(gradients, state.opt_state, state.params, value=loss, grad=gradients)
    params = jax.tree.map(lambda p, u: (p - learning_rate * u).astype(p.dtype), state.params, updates)
    average = state.average if rules.decay is None else _moved(rules.decay, state.average, params)
    after = TrainState(params, opt_state, state.step + 1, network, state.key, average)
    return after, losses.at[index].set(mean_loss)


def _moved(decay: float, average: Params, params: Params) -> Params:
    moved: Params = jax.tree.map(lambda a, p: (a + (1 - decay) * (p - a)).astype(a.dtype), average, params)
    return moved


def _accumulate(
    program: Program, state: TrainState, train: TrainSet, examples: Batch, weights: jax.Array
) -> tuple[Sums, Tree]:
    """Sums gradients, losses and weights over a device's share of a batch, one micro-batch after another.

    Returns these, and the network's state after the batch, the mean over the devices.
    """
    rules = program.rules

    def micro(network: Tree, examples: Batch, weights: jax.Array, keys: Tree) -> tuple[Sums, Tree]:
        inputs, targets = jax.tree.map(lambda values: values[examples], train) if train else examples

        def total(params: Params) -> tuple[jax.Array, Tree]:
            outputs, after = rules.trained_outputs(params, network, inputs, keys)
            return jnp.sum(weights * rules.workload.training_loss(outputs, targets)), after

        (value, after), gradients = jax.value_and_grad(total, has_aux=True)(state.params)
        return (gradients, value, jnp.sum(weights)), after

    keys = _keys(program, state, len(weights))
    if program.train.parts == 1:
        sums, network = micro(state.network, examples, weights, keys)
        return sums, _mean_over_devices(program, network)
    split = jax.tree.map(lambda values: values.reshape(*program.train, *values.shape[1:]), (examples, weights, keys))
    zeros = jax.tree.map(jnp.zeros_like, (state.params, jnp.float32(0), jnp.float32(0)))

    def added(before: tuple[Sums, Tree], part: tuple[Batch, jax.Array, Tree]) -> tuple[tuple[Sums, Tree], None]:
        sums, network = micro(before[1], *part)
        return (jax.tree.map(jnp.add, before[0], sums), network), None

    before = (zeros, state.network)
    if program.looped:
        sums, network = lax.scan(added, before, split)[0]
    else:
        parts = [jax.tree.map(operator.itemgetter(part), split) for part in range(program.train.parts)]
        sums, network = functools.reduce(lambda carry, part: added(carry, part)[0], parts, before)
    return sums, _mean_over_devices(program, network)


def _keys(program: Program, state: TrainState, share: int) -> Tree:
    """Returns a key for each example of a device's share, uint32[share, 2]: of seed, step and place in the batch."""
    if not (program.rules.draws or program.rules.augments):
        return ()
    first = 0 if program.runs_per_device else lax.axis_index(AXIS) * share
    of_step = jax.random.fold_in(state.key, state.step)
    return jax.vmap(lambda place: jax.random.fold_in(of_step, place))(first + jnp.arange(share))


def _mean_over_devices(program: Program, network: Tree) -> Tree:
    """Returns the network's state, the same on all devices; its whole numbers, such as counts, are the same already."""
    if program.runs_per_device:
        return network
    return jax.tree.map(lambda v: lax.pmean(v, AXIS) if jnp.issubdtype(v.dtype, jnp.floating) else v, network)
