"""What is known of a network and its metrics before anything is computed."""

from __future__ import annotations

import contextlib
import functools
import math
import operator
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from lrtrain.engine.program import AXIS
from lrtrain.engine.state import Leaves, Params, Tree
from lrtrain.nn.conv import operations
from lrtrain.nn.network import NeedsKeyError, Network
from lrtrain.nn.normalization import named_normalization
from lrtrain.nn.substitution import has_slow_operations, with_fast_operations
from lrtrain.workloads.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Mapping


def counted(network: Network, workload: Workload, inputs: Leaves, targets: Leaves) -> frozenset[str]:
    """Returns the names of the metrics that are true or false for an example; computes nothing."""

    def metrics(raw: Tree, targets: Tree) -> Mapping[str, jax.Array]:
        given = workload.inputs(raw)
        outputs, _ = network.apply(*network.init(jax.random.PRNGKey(0), given), given)
        return workload.metrics(outputs, targets)

    found = jax.eval_shape(metrics, *(each.map(jax.ShapeDtypeStruct) for each in (inputs, targets)))
    return frozenset(name for name, values in found.items() if values.dtype == jnp.bool_)


class Traced(NamedTuple):
    """What is known of a network's training step before anything is computed."""

    params: Params
    """The shapes and types of its parameters."""
    network: Tree
    """Those of its other state."""
    draws: bool
    """Whether it draws random numbers when it is trained."""
    replaces: bool
    """Whether operations of it are replaced by such as are fast on CPU."""
    gradients: Any
    """The program of its gradients, a ``jaxpr``."""
    convolves: bool
    """Whether it has convolutions whose windows overlap."""
    largest: float
    """Bytes of an example in the largest result of an operation of its outputs."""

    @property
    def parameter_bytes(self) -> int:
        """The size of its parameters."""
        return sum(map(bytes_of, jax.tree.leaves(self.params)))


def traced(network: Network, workload: Workload, inputs: Leaves, *, on_cpu: bool) -> Traced:
    """Traces the gradients of a network for a batch; computes nothing."""
    batch = inputs.map(jax.ShapeDtypeStruct)
    params, state = jax.eval_shape(lambda raw: network.init(jax.random.PRNGKey(0), workload.inputs(raw)), batch)

    def outputs(params: Params, state: Tree, raw: Tree, key: jax.Array | None) -> Any:
        return network.apply(params, state, workload.inputs(raw), train=True, key=key)[0]

    # Inside of a step there is this axis, over which a network may average.
    trace = functools.partial(jax.make_jaxpr, axis_env=[(AXIS, 1)])
    key = None
    with named_normalization() if on_cpu else contextlib.nullcontext():
        try:
            program = trace(outputs)(params, state, batch, key)
        except NeedsKeyError:
            key = jax.random.PRNGKey(0)
            program = trace(outputs)(params, state, batch, key)
    replaces = on_cpu and has_slow_operations(program)
    fast = with_fast_operations(outputs) if replaces else outputs
    examples = jax.tree.leaves(batch)[0].shape[0]
    largest = max(_sizes(program), default=0) / examples
    if replaces:
        # Some results, such as the kernels of Winograd's convolution, are as large for any number of examples.
        twice = jax.tree.map(lambda each: jax.ShapeDtypeStruct((2 * each.shape[0], *each.shape[1:]), each.dtype), batch)
        less, more = (_sizes(trace(fast)(params, state, many, key)) for many in (batch, twice))
        # With more examples a convolution may have another form.
        grown = map(operator.sub, more, less) if len(more) == len(less) else less
        largest = max(grown, default=0) / examples

    def total(*arguments: Any) -> jax.Array:
        leaves = jax.tree.leaves(fast(*arguments))
        return sum((jnp.sum(jnp.asarray(leaf, jnp.float32)) for leaf in leaves), jnp.float32(0))

    gradients = trace(jax.grad(total))(params, state, batch, key)
    convolves = _convolves(program) or _convolves(gradients)
    return Traced(params, state, key is not None, replaces, gradients, convolves, largest)


def _convolves(program: Any) -> bool:
    """Returns whether a program has convolutions whose windows overlap: others, as of patches, are plain products."""
    return any(
        operation.primitive.name == "conv_general_dilated" and operation.params["window_strides"] != _window(operation)
        for operation in operations(program)
    )


def _window(convolution: Any) -> tuple[int, ...]:
    kernel, numbers = convolution.invars[1].aval.shape, convolution.params["dimension_numbers"]
    return tuple(kernel[axis] for axis in numbers.rhs_spec[2:])


def _sizes(program: Any) -> list[int]:
    return [bytes_of(out.aval) for operation in operations(program) for out in operation.outvars]


def bytes_of(value: Any) -> int:
    """Returns the size of an array, or of one of such a shape and type."""
    # The type of a key is JAX's own, which NumPy does not know.
    return int(math.prod(value.shape) * value.dtype.itemsize)
