"""Normalisation over a batch or over groups of channels, with its gradient written out, in the place of Flax's own.

XLA:CPU runs the gradient that autodiff makes of it in more passes over the images, each of which waits for memory.
benchmarks/NOTES.md has the measurements.

It takes two steps. While a network is traced, `named_normalization` has Linen's layers call a function that is compiled
by itself, under a name of its own. Where the traced program is evaluated with other operations, a call of that name
becomes `written_out`'s function. In between it is plain JAX: whatever differentiates within the network, forwards or
backwards, finds no function whose gradient is written out.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.module import merge_param
from jax import lax

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FLOATS = (jnp.float32, jnp.float64)
_NAME = re.compile(r"lrtrain_normalized_(\d+)_(.+)")


@contextlib.contextmanager
def named_normalization() -> Iterator[None]:
    """Within it, ``nn.BatchNorm`` in training and ``nn.GroupNorm`` are calls of programs that `written_out` knows.

    Parameters, statistics and values are those of Flax; the variance is the mean of ``(x - mean)**2``, which rounds
    less than Flax's default. Subclasses, masks, an ``axis_name``, other axes than Flax's default ones, and other types
    than float32 and float64 are left to Flax.
    """

    def intercepted(flax_own: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        layer = context.module
        ours = _OURS.get(type(layer)) if context.method_name == "__call__" else None
        out = None if ours is None or layer.is_initializing() else ours(layer, *args, **kwargs)
        return flax_own(*args, **kwargs) if out is None else out

    with nn.intercept_methods(intercepted):
        yield


def written_out(call: Any) -> Callable[..., Any] | None:
    """Returns the function whose gradient is written out, if the operation of a traced program calls such a program.

    A program that JAX has differentiated or batched keeps its name, so the whole of it is compared. Of those only the
    one that is batched over ``x`` has a place: a network that draws random numbers is traced example by example.
    """
    found = _NAME.fullmatch(call.params["name"])
    ranks = [len(value.aval.shape) for value in call.invars]
    if found is None or ranks not in ([3, 1, 1], [4, 1, 1]):
        return None
    groups, epsilon = int(found[1]), float(found[2])
    batched = functools.partial(jax.vmap, in_axes=(0, None, None)) if ranks[0] == 4 else _unchanged
    shapes = [jax.ShapeDtypeStruct(value.aval.shape, value.aval.dtype) for value in call.invars]
    (expected,) = jax.make_jaxpr(batched(_named(groups, epsilon)))(*shapes).eqns
    if str(expected.params["jaxpr"]) != str(call.params["jaxpr"]):
        return None
    return batched(lambda x, scale, bias: _normalized(x, scale, bias, groups, epsilon))


def _unchanged(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


@functools.cache
def _named(groups: int, epsilon: float) -> Callable[..., Any]:
    """Returns the plain function as a program that has the name of what it computes."""

    def plain(x: jax.Array, scale: jax.Array, bias: jax.Array) -> Any:
        return _forward(x, scale, bias, groups, epsilon)[0]

    plain.__name__ = f"lrtrain_normalized_{groups}_{epsilon!r}"
    return jax.jit(plain)


def _batch_norm(
    layer: nn.BatchNorm, x: jax.Array, use_running_average: bool | None = None, *, mask: Any = None
) -> jax.Array | None:
    """Returns the outputs of a layer that is trained; None for what is left to Flax."""
    evaluated = merge_param("use_running_average", layer.use_running_average, use_running_average)
    if evaluated or mask is not None or layer.axis not in (-1, x.ndim - 1) or not _is_plain(layer, x):
        return None
    if not (layer.has_variable("batch_stats", "mean") and layer.has_variable("batch_stats", "var")):
        return None
    channels = x.shape[-1]
    out: jax.Array
    out, *statistics = _named(channels, float(layer.epsilon))(x.reshape(1, -1, channels), *_affine(layer, x))
    for name, (now,) in zip(("mean", "var"), statistics, strict=True):
        before: Any = layer.get_variable("batch_stats", name)
        moved = layer.momentum * before + (1 - layer.momentum) * now
        layer.put_variable("batch_stats", name, moved.astype(before.dtype))
    return out.reshape(x.shape)


def _group_norm(layer: nn.GroupNorm, x: jax.Array, *, mask: Any = None) -> jax.Array | None:
    """Returns the outputs of a layer; None for what is left to Flax, and for what it refuses."""
    channels, groups = x.shape[-1], _groups(layer, x.shape[-1])
    if groups is None or mask is not None or x.ndim == 1 or layer.reduction_axes is not None or not _is_plain(layer, x):
        return None
    images = x.reshape(len(x), math.prod(x.shape[1:-1]), channels)
    out: jax.Array = _named(groups, float(layer.epsilon))(images, *_affine(layer, x))[0]
    return out.reshape(x.shape)


def _groups(layer: nn.GroupNorm, channels: int) -> int | None:
    """Returns the number of groups; None for what Flax refuses."""
    groups, size = layer.num_groups, layer.group_size
    if groups is None and size and not channels % size:
        return channels // size
    return groups if size is None and groups and groups > 0 and not channels % groups else None


_OURS: dict[type[nn.Module], Callable[..., jax.Array | None]] = {nn.BatchNorm: _batch_norm, nn.GroupNorm: _group_norm}


def _is_plain(layer: nn.BatchNorm | nn.GroupNorm, x: jax.Array) -> bool:
    return (
        layer.axis_name is None
        and x.dtype in _FLOATS
        and (layer.dtype or jnp.promote_types(x.dtype, layer.param_dtype)) == x.dtype
        and layer.param_dtype in _FLOATS
        and x.size > 0
    )


def _affine(layer: nn.BatchNorm | nn.GroupNorm, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the layer's scale and bias ``[channels]``, ones and zeros where it has none."""

    def param(name: str, init: Any) -> Any:
        return layer.param(name, init, x.shape[-1:], layer.param_dtype).astype(x.dtype)

    scale = param("scale", layer.scale_init) if layer.use_scale else jnp.ones(x.shape[-1:], x.dtype)
    bias = param("bias", layer.bias_init) if layer.use_bias else jnp.zeros(x.shape[-1:], x.dtype)
    return scale, bias


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _normalized(x: jax.Array, scale: jax.Array, bias: jax.Array, groups: int, epsilon: float) -> Any:
    """Normalises each group of channels of ``x[N, pixels, channels]`` over its pixels and channels.

    Returns the values, and mean and variance ``[N, channels]``.
    """
    return _forward(x, scale, bias, groups, epsilon)[0]


def _forward(x: jax.Array, scale: jax.Array, bias: jax.Array, groups: int, epsilon: float) -> tuple[Any, Any]:
    mean = _of_groups(x.mean(1), groups)
    var = _of_groups(jnp.square(x - mean[:, None]).mean(1), groups)
    inverse = lax.rsqrt(var + epsilon)
    out = (x - mean[:, None]) * (inverse * scale)[:, None] + bias
    return (out, mean, var), (x, mean, inverse, scale)


def _backward(groups: int, _epsilon: float, saved: Any, cotangents: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Maps the cotangents of values, mean and variance to those of the values before, of ``scale`` and of ``bias``."""
    (x, mean, inverse, scale), (g, for_mean, for_var) = saved, cotangents
    pixels, centred = x.shape[1], x - mean[:, None]
    for_bias, for_scale = g.sum(1), (g * centred).sum(1) * inverse
    level = _of_groups(inverse * scale * for_bias - for_mean, groups) / pixels
    slope = _of_groups(inverse**2 * scale * for_scale - 2 * for_var, groups) / pixels
    for_x = g * (inverse * scale)[:, None] - level[:, None] - centred * slope[:, None]
    return for_x, for_scale.sum(0), for_bias.sum(0)


_normalized.defvjp(_forward, _backward)


def _of_groups(values: jax.Array, groups: int) -> jax.Array:
    """Returns for each channel of ``[N, channels]`` the mean over its group."""
    size = values.shape[-1] // groups
    # Sums over pixels come first: with a group's channels as the last axis, XLA:CPU makes no vectors.
    return jnp.repeat(values.reshape(len(values), groups, size).mean(-1), size, axis=-1)
