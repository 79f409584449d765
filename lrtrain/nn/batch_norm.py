"""Batch normalisation whose gradient is written out, with the parameters and statistics of ``flax.linen.BatchNorm``.

XLA:CPU runs the gradient that autodiff makes of Flax's own in more passes over the images, each of which waits for
memory. benchmarks/NOTES.md has the measurements.
"""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.module import merge_param
from jax import lax

_FLOATS = (jnp.float32, jnp.float64)


class BatchNorm(nn.BatchNorm):
    """Normalises over the batch like ``flax.linen.BatchNorm``, faster on CPU when it is trained.

    ``y = scale * (x - mean) / sqrt(var + epsilon) + bias``, with the mean and the variance over all axes but the last.

    The fields, the parameters and the collection ``batch_stats`` are Flax's, so a trained network can have one in the
    place of the other. The variance is the mean of ``(x - mean)**2``, which rounds less than Flax's default. With a
    mask, an ``axis_name``, another axis or other types than float32 and float64, and in an evaluation, what runs is
    Flax's own code. The fast one supports reverse-mode differentiation only.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import lrtrain
      >>> norm = lrtrain.BatchNorm(use_running_average=False)
      >>> images = 5 * jax.random.normal(jax.random.key(0), (8, 4, 4, 3)) + 2
      >>> normalised, _ = norm.apply(norm.init(jax.random.key(1), images), images, mutable="batch_stats")
      >>> bool(jnp.allclose(normalised.mean((0, 1, 2)), 0, atol=1e-5))
      True

    References: Ioffe and Szegedy, arXiv 1502.03167.
    """

    @nn.compact
    def __call__(self, x: Any, use_running_average: bool | None = None, *, mask: Any = None) -> Any:
        """Maps ``float[..., features]`` to the same; the arguments are those of ``flax.linen.BatchNorm``."""
        evaluated = merge_param("use_running_average", self.use_running_average, use_running_average)
        if evaluated or mask is not None or self.is_initializing() or not self._is_plain(x):
            return super().__call__(x, use_running_average, mask=mask)
        rows = x.reshape(-1, x.shape[-1])
        scale = self._param("scale", self.scale_init, rows) if self.use_scale else jnp.ones_like(rows[0])
        bias = self._param("bias", self.bias_init, rows) if self.use_bias else jnp.zeros_like(rows[0])
        out, *statistics = _normalised(rows, scale, bias, self.epsilon)
        for name, now in zip(("mean", "var"), statistics, strict=True):
            before: Any = self.get_variable("batch_stats", name)
            moved = self.momentum * before + (1 - self.momentum) * now
            self.put_variable("batch_stats", name, moved.astype(before.dtype))
        return out.reshape(x.shape)

    def _param(self, name: str, init: Any, rows: jax.Array) -> Any:
        return self.param(name, init, rows.shape[1:], self.param_dtype).astype(rows.dtype)

    def _is_plain(self, x: jax.Array) -> bool:
        return (
            self.axis in (-1, x.ndim - 1)
            and self.axis_name is None
            and x.dtype in _FLOATS
            and self.dtype in (None, x.dtype)
            and self.param_dtype in _FLOATS
        )


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalised(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> Any:
    """Returns the normalised ``[N, C]``, and the mean and the variance ``[C]``, which nothing is differentiated by."""
    return _forward(x, scale, bias, epsilon)[0]


def _forward(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> tuple[Any, Any]:
    mean = x.mean(0)
    var = jnp.square(x - mean).mean(0)
    inverse = lax.rsqrt(var + epsilon)
    return ((x - mean) * inverse * scale + bias, mean, var), (x, mean, inverse, scale)


def _backward(_epsilon: float, saved: Any, cotangents: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Maps the cotangent of the normalised values to those of the values, of ``scale`` and of ``bias``."""
    (x, mean, inverse, scale), g = saved, cotangents[0]
    unit = (x - mean) * inverse
    for_bias, for_scale = g.sum(0), (g * unit).sum(0)
    for_x = scale * inverse * (g - for_bias / len(x) - unit * (for_scale / len(x)))
    return for_x, for_scale, for_bias


_normalised.defvjp(_forward, _backward)
