"""Normalisation over a batch or over groups of channels, with its gradient written out, in the place of Flax's own.

XLA:CPU runs the gradient that autodiff makes of it in more passes over the images, each of which waits for memory.
benchmarks/NOTES.md has the measurements.
"""

from __future__ import annotations

import contextlib
import functools
import math
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.module import merge_param
from jax import lax

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FLOATS = (jnp.float32, jnp.float64)


@contextlib.contextmanager
def fast_normalization() -> Iterator[list[str]]:
    """Within it, ``nn.BatchNorm`` in training and ``nn.GroupNorm`` are computed by the functions of this file.

    Parameters, statistics and values are those of Flax; the variance is the mean of ``(x - mean)**2``, which rounds
    less than Flax's default. Only reverse-mode differentiation goes through them. Subclasses, masks, an ``axis_name``,
    other axes than Flax's default ones, and other types than float32 and float64 are left to Flax. Yields the names of
    the layers that were computed so, one for each call.
    """
    computed: list[str] = []

    def intercepted(flax_own: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        layer = context.module
        ours = _OURS.get(type(layer)) if context.method_name == "__call__" else None
        out = None if ours is None or layer.is_initializing() else ours(layer, *args, **kwargs)
        if out is None:
            return flax_own(*args, **kwargs)
        computed.append(type(layer).__name__)
        return out

    with nn.intercept_methods(intercepted):
        yield computed


def _batch_norm(
    layer: nn.BatchNorm, x: jax.Array, use_running_average: bool | None = None, *, mask: Any = None
) -> jax.Array | None:
    """Returns the outputs of a layer that is trained; None for what is left to Flax."""
    evaluated = merge_param("use_running_average", layer.use_running_average, use_running_average)
    if evaluated or mask is not None or layer.axis not in (-1, x.ndim - 1) or not _is_plain(layer, x):
        return None
    channels = x.shape[-1]
    out: jax.Array
    out, *statistics = _normalized(x.reshape(1, -1, channels), *_affine(layer, x), channels, layer.epsilon)
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
    out: jax.Array = _normalized(images, *_affine(layer, x), groups, layer.epsilon)[0]
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
        and layer.dtype in (None, x.dtype)
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

    Returns the values, and mean and variance ``[N, channels]``, which nothing is differentiated by.
    """
    return _forward(x, scale, bias, groups, epsilon)[0]


def _forward(x: jax.Array, scale: jax.Array, bias: jax.Array, groups: int, epsilon: float) -> tuple[Any, Any]:
    mean = _of_groups(x.mean(1), groups)
    var = _of_groups(jnp.square(x - mean[:, None]).mean(1), groups)
    inverse = lax.rsqrt(var + epsilon)
    out = (x - mean[:, None]) * (inverse * scale)[:, None] + bias
    return (out, mean, var), (x, mean, inverse, scale)


def _backward(groups: int, _epsilon: float, saved: Any, cotangents: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Maps the cotangent of the normalised values to those of the values, of ``scale`` and of ``bias``."""
    (x, mean, inverse, scale), g = saved, cotangents[0]
    pixels, centred = x.shape[1], x - mean[:, None]
    for_bias, for_scale = g.sum(1), (g * centred).sum(1) * inverse
    level, slope = (inverse * _of_groups(scale * each / pixels, groups) for each in (for_bias, for_scale))
    for_x = g * (inverse * scale)[:, None] - level[:, None] - centred * (inverse * slope)[:, None]
    return for_x, for_scale.sum(0), for_bias.sum(0)


_normalized.defvjp(_forward, _backward)


def _of_groups(values: jax.Array, groups: int) -> jax.Array:
    """Returns for each channel of ``[N, channels]`` the mean over its group."""
    size = values.shape[-1] // groups
    # Sums over pixels come first: with a group's channels as the last axis, XLA:CPU makes no vectors.
    return jnp.repeat(values.reshape(len(values), groups, size).mean(-1), size, axis=-1)
