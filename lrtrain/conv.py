"""A convolution whose gradients are convolutions of the one form that XLA runs fast inside a loop on CPU.

XLA:CPU rewrites a convolution to its fast kernel only in the entry computation of a program. The gradients that
autodiff makes of a convolution have permuted dimensions; inside a loop body they stay so and run element by element,
about forty times slower (jax-ml/jax#12868). Here both gradients are written as NHWC/HWIO/NHWC convolutions, which need
no rewriting: the numbers are the same.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

if TYPE_CHECKING:
    from collections.abc import Sequence

_Pads = tuple[tuple[int, int], tuple[int, int]]
_CANONICAL = ("NHWC", "HWIO", "NHWC")


def conv_general_dilated(  # noqa: PLR0913, PLR0917 - the signature of the function that it stands in for
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    **others: Any,
) -> jax.Array:
    """Convolves like ``jax.lax.conv_general_dilated``; made for ``flax.linen.Conv(conv_general_dilated=...)``.

    A two-dimensional NHWC/HWIO/NHWC convolution with stride 1, no dilation and no groups gets the fast gradients. Any
    other is passed on to ``jax.lax.conv_general_dilated`` as it is. The fast one supports reverse-mode differentiation
    only.

    Args:
        lhs: Images ``[batch, height, width, in_features]``.
        rhs: Kernel ``[kernel_height, kernel_width, in_features, features]``.
        window_strides: Strides, in pixels.
        padding: ``"SAME"``, ``"VALID"`` or ``(low, high)`` pairs, in pixels.
        lhs_dilation: As in ``jax.lax``.
        rhs_dilation: As in ``jax.lax``.
        dimension_numbers: As in ``jax.lax``.
        **others: As in ``jax.lax``: ``feature_group_count``, ``precision`` and so on.

    Returns:
        ``[batch, out_height, out_width, features]``.
    """
    plain = (
        all(n == 1 for n in (*window_strides, *(lhs_dilation or ()), *(rhs_dilation or ())))
        and _is_canonical(lhs, rhs, dimension_numbers)
        and all(value in (None, 1) for name, value in others.items() if name != "precision")
    )
    if not plain:
        return lax.conv_general_dilated(
            lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, **others
        )
    pads = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], (1, 1), padding) if isinstance(padding, str) else padding
    return _convolve(lhs, rhs, tuple((int(low), int(high)) for low, high in pads), others.get("precision"))


def _is_canonical(lhs: jax.Array, rhs: jax.Array, dimension_numbers: Any) -> bool:
    """Says whether the operands are NHWC images and an HWIO kernel of the same floating-point type."""
    if lhs.ndim != 4 or rhs.ndim != 4 or lhs.dtype != rhs.dtype or not jnp.issubdtype(lhs.dtype, jnp.floating):
        return False
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    return bool(numbers == lax.conv_dimension_numbers(lhs.shape, rhs.shape, _CANONICAL))


def _conv(x: jax.Array, w: jax.Array, pads: _Pads, precision: Any) -> jax.Array:
    return lax.conv_general_dilated(x, w, (1, 1), pads, dimension_numbers=_CANONICAL, precision=precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: jax.Array, w: jax.Array, pads: _Pads, precision: Any) -> jax.Array:
    """Convolves ``x[N, H, W, C]`` with ``w[h, w, C, O]`` at stride 1."""
    return _conv(x, w, pads, precision)


def _forward(x: jax.Array, w: jax.Array, pads: _Pads, precision: Any) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _conv(x, w, pads, precision), (x, w)


def _backward(
    pads: _Pads, precision: Any, saved: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Maps the cotangent ``g[N, H', W', O]`` to those of the images and the kernel."""
    x, w = saved
    opposite = tuple((size - 1 - low, size - 1 - high) for size, (low, high) in zip(w.shape[:2], pads, strict=True))
    for_images = _conv(g, w[::-1, ::-1].swapaxes(2, 3), opposite, precision)  # type: ignore[arg-type]
    # Channels take the place of the batch, and the batch that of the channels.
    for_kernel = _conv(x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3), pads, precision)
    return for_images, for_kernel.transpose(1, 2, 0, 3)


_convolve.defvjp(_forward, _backward)


def is_slow_in_loop(jaxpr: Any) -> bool:
    """Says whether a program holds a convolution that XLA:CPU would run element by element inside a loop.

    Args:
        jaxpr: The program, as ``jax.make_jaxpr`` gives it or a part of it.

    Returns:
        True if some convolution is dilated on the left, grouped, or not in the order batch, space, features.
    """
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated" and _needs_rewriting(equation.params):
            return True
        inner = jax.tree.leaves(list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns"))
        if any(is_slow_in_loop(part) for part in inner if hasattr(getattr(part, "jaxpr", part), "eqns")):
            return True
    return False


def _needs_rewriting(params: dict[str, Any]) -> bool:
    numbers = params["dimension_numbers"]
    rank = len(numbers.lhs_spec)
    channels_last = (0, rank - 1, *range(1, rank - 1))
    in_order = numbers.lhs_spec == numbers.out_spec == channels_last and numbers.rhs_spec == (
        rank - 1,
        rank - 2,
        *range(rank - 2),
    )
    groups = (params["feature_group_count"], params["batch_group_count"])
    return not in_order or any(n != 1 for n in (*params["lhs_dilation"], *groups))
