"""A network's operations in forms that are fast on CPU, however it is written: what XLA:CPU runs slowly is replaced.

The network is traced, and its program evaluated again, operation by operation, before anything is differentiated: a
convolution becomes `lrtrain.nn.conv.conv_general_dilated`, a maximum over windows that of `lrtrain.nn.pooling`, a
normalisation of Linen that of `lrtrain.nn.normalization`. benchmarks/NOTES.md has what each gains.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from lrtrain.nn.conv import conv_general_dilated, is_replaceable
from lrtrain.nn.normalization import named_normalization, written_out
from lrtrain.nn.pooling import max_over_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The code of a maximum over windows is as long as the window: one of 7x7 is four times as fast as JAX's own, one of
# 14x14 eight times as slow (forward and gradient).
_LARGEST_WINDOW = 49
# Those whose lowest value is minus infinity.
_FLOATS = (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64)


def with_fast_operations(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function of trees of arrays with the same values and gradients, up to rounding."""

    def fast(*arguments: Any) -> Any:
        with named_normalization():
            program, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        results = _evaluated(program, jax.tree.leaves(arguments))
        expected, tree = jax.tree.flatten(shapes)
        # A constant is one of Python here.
        return jax.tree.unflatten(tree, [jnp.asarray(r, s.dtype) for r, s in zip(results, expected, strict=True)])

    return fast


def has_slow_operations(program: Any) -> bool:
    """Returns whether a program, as ``jax.make_jaxpr`` gives it, has operations that are replaced."""
    return any(map(_is_slow, program.jaxpr.eqns))


def _is_slow(operation: Any) -> bool:
    if not _is_call(operation):
        return _replacement(operation) is not None
    return written_out(operation) is not None or has_slow_operations(operation.params["jaxpr"])


def _is_call(operation: Any) -> bool:
    """Returns whether an operation does nothing but to call another program; JAX has renamed it."""
    return operation.primitive.name in ("jit", "pjit")


class _Replacement(NamedTuple):
    """What takes the place of an operation, and where."""

    applies: Callable[[Any], bool]
    evaluate: Callable[..., jax.Array]


def _is_convolution_of_images(operation: Any) -> bool:
    floating = jnp.issubdtype(operation.invars[0].aval.dtype, jnp.floating)
    return bool(floating) and _has_results(operation) and is_replaceable(operation.params)


def _has_results(operation: Any) -> bool:
    """Returns whether its result is not empty, as that of a window is that does not fit into the images."""
    return 0 not in operation.outvars[0].aval.shape


def _convolution(operation: Any, lhs: jax.Array, rhs: jax.Array) -> jax.Array:
    others = dict(operation.params)
    strides, padding = others.pop("window_strides"), others.pop("padding")
    return conv_general_dilated(lhs, rhs, strides, padding, **others)


def _is_maximum_over_small_windows(operation: Any) -> bool:
    params, dtype = operation.params, operation.invars[0].aval.dtype
    return (
        all(n == 1 for name in ("base_dilation", "window_dilation") for n in params[name])
        and math.prod(params["window_dimensions"]) <= _LARGEST_WINDOW
        and _has_results(operation)
        and (dtype in _FLOATS or bool(jnp.issubdtype(dtype, jnp.integer)))
    )


def _maximum(operation: Any, x: jax.Array) -> jax.Array:
    params = operation.params
    return max_over_windows(x, params["window_dimensions"], params["window_strides"], params["padding"])


_REPLACEMENTS = {
    "conv_general_dilated": _Replacement(_is_convolution_of_images, _convolution),
    "reduce_window_max": _Replacement(_is_maximum_over_small_windows, _maximum),
}


def _replacement(operation: Any) -> Callable[..., jax.Array] | None:
    found = _REPLACEMENTS.get(operation.primitive.name)
    return found.evaluate if found is not None and found.applies(operation) else None


def _evaluated(program: Any, arguments: Sequence[Any]) -> list[Any]:
    """Evaluates a program as ``jax.core.eval_jaxpr`` does, with the replacements."""
    jaxpr = program.jaxpr
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*program.consts, *arguments), strict=True))

    def value(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else known[atom]

    for operation in jaxpr.eqns:
        with operation.ctx.manager:
            results = _results(operation, [value(atom) for atom in operation.invars])
        known.update(zip(operation.outvars, results, strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def _results(operation: Any, values: list[Any]) -> list[Any]:
    primitive, params = operation.primitive, operation.params
    if replacement := _replacement(operation):
        return [replacement(operation, *values)]
    if _is_call(operation):
        if normalized := written_out(operation):
            return list(normalized(*values))
        if has_slow_operations(params["jaxpr"]):
            return _evaluated(params["jaxpr"], values)
    found = primitive.bind(*values, **primitive.get_bind_params(params))
    return list(found) if primitive.multiple_results else [found]
