"""A convolution that is fast on CPU inside a loop, gradients included, and on a GPU for images of one channel.

XLA:CPU rewrites a convolution to its fast kernel only in the entry computation of a program. The gradients that
autodiff makes of a convolution have permuted dimensions; inside a loop body they are not rewritten and run element by
element, about forty times slower (jax-ml/jax#12868). Here both gradients are convolutions that need no rewriting; where
`lrtrain.nn.winograd` applies, neither is a convolution at all. benchmarks/NOTES.md has the measurements. On other
backends the gradients are autodiff's own, except for images of one channel on a GPU.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

from lrtrain.nn import winograd
from lrtrain.nn.winograd import Pads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_CANONICAL = ("NHWC", "HWIO", "NHWC")
# Up to this number of products for an output, adding them up in one fused loop is faster than a convolution.
_FEW_PRODUCTS = 9
# Examples in one convolution for a kernel's gradient, and the most such convolutions one after another.
_GROUP = 8
_MOST_GROUPS = 8


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
    """Convolves like ``jax.lax.conv_general_dilated``, faster on CPU; ``flax.linen.Conv`` takes it as an argument.

    `lrtrain.train` puts it in the place of JAX's own by itself; this is for a training loop of your own.

    ``out[n, i, j, o] = sum over k, l, c of lhs[n, i + k, j + l, c] * rhs[k, l, c, o]``, `lhs` being padded.

    A two-dimensional NHWC/HWIO/NHWC convolution without dilation and groups gets the fast gradients; one with stride 1,
    a 3x3 kernel, eight channels or more in and out and the default precision is Winograd's (Lavin and Gray 2015,
    arXiv:1509.09308), whose rounding error is some five times that of the sum above. Any other is passed to
    ``jax.lax.conv_general_dilated`` unchanged. The fast one supports reverse-mode differentiation only.

    Args:
      lhs: images ``[batch, height, width, in_features]``.
      rhs: kernel ``[kernel_height, kernel_width, in_features, features]``.
      window_strides: strides, in pixels.
      padding: ``"SAME"``, ``"VALID"`` or ``(low, high)`` pairs, in pixels.
      lhs_dilation: as in ``jax.lax``.
      rhs_dilation: as in ``jax.lax``.
      dimension_numbers: as in ``jax.lax``.
      **others: as in ``jax.lax``: ``feature_group_count``, ``precision`` and so on.

    Returns:
      ``[batch, out_height, out_width, features]``.

    Raises:
      TypeError, ValueError: an argument is one that ``jax.lax.conv_general_dilated`` refuses.

    Example:
      >>> import flax.linen as nn
      >>> import lrtrain
      >>> layer = nn.Conv(32, (3, 3), conv_general_dilated=lrtrain.conv_general_dilated)
    """
    plain = (
        all(n == 1 for n in (*(lhs_dilation or ()), *(rhs_dilation or ())))
        and _is_canonical(lhs, rhs, dimension_numbers)
        and all(value in (None, 1) for name, value in others.items() if name != "precision")
    )
    if not plain:
        return lax.conv_general_dilated(
            lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, **others
        )
    strides = (int(window_strides[0]), int(window_strides[1]))
    pads = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], strides, padding) if isinstance(padding, str) else padding
    pads = tuple((int(low), int(high)) for low, high in pads)
    precision = others.get("precision")
    if _is_empty(lhs, rhs, pads) or (_is_symbolic(lhs) and strides != (1, 1)):
        return lax.conv_general_dilated(
            lhs, rhs, strides, pads, dimension_numbers=dimension_numbers, precision=precision
        )
    if strides == (1, 1) and rhs.shape[:2] != (1, 1):
        return _convolve(lhs, rhs, pads, precision)
    return _convolve_patches(lhs, rhs, strides, pads, precision)


def _is_symbolic(x: jax.Array) -> bool:
    """Returns whether the size of the images is not known yet, as in an export for any size."""
    return not all(isinstance(size, int) for size in x.shape[1:3])


def _is_empty(x: jax.Array, w: jax.Array, pads: Pads) -> bool:
    """Returns whether the kernel does not fit into the images, so that there are no outputs."""
    sizes = zip(x.shape[1:3], pads, w.shape, strict=False)
    return not _is_symbolic(x) and any(size + sum(pad) < kernel for size, pad, kernel in sizes)


def _is_canonical(lhs: jax.Array, rhs: jax.Array, dimension_numbers: Any) -> bool:
    """Returns whether the operands are NHWC images and an HWIO kernel of the same floating-point type."""
    if lhs.ndim != 4 or rhs.ndim != 4 or lhs.dtype != rhs.dtype or not jnp.issubdtype(lhs.dtype, jnp.floating):
        return False
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    return bool(numbers == lax.conv_dimension_numbers(lhs.shape, rhs.shape, _CANONICAL))


def _conv(x: jax.Array, w: jax.Array, pads: Pads, precision: Any) -> jax.Array:
    if any(not 0 <= width < size for size, pad in zip(w.shape, pads, strict=False) for width in pad):
        # XLA:CPU reads uninitialised memory where padding is negative (openxla/xla#48713): here, or in the gradient of
        # a convolution whose padding is wider than the kernel reaches.
        x, pads = _pad(x, ((0, 0), *pads, (0, 0))), ((0, 0),) * len(pads)
    return lax.conv_general_dilated(x, w, (1, 1), pads, dimension_numbers=_CANONICAL, precision=precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: jax.Array, w: jax.Array, pads: Pads, precision: Any) -> jax.Array:
    """Convolves ``x[N, H, W, C]`` with ``w[h, w, C, O]`` at stride 1."""
    conv = functools.partial(_conv, pads=pads, precision=precision)
    if _has_few_products(x, w):
        products = functools.partial(_sum_of_products, pads=pads)
        out: jax.Array = lax.platform_dependent(x, w, cpu=products, cuda=products, default=conv)
    elif winograd.applies(x, w, pads, precision):
        out = lax.platform_dependent(x, w, cpu=functools.partial(winograd.convolve, pads=pads), default=conv)
    else:
        out = conv(x, w)
    return out


def _has_few_products(x: jax.Array, w: jax.Array) -> bool:
    return x.shape[-1] == 1 and w[..., 0].size <= _FEW_PRODUCTS


def _backward(pads: Pads, precision: Any, saved: tuple[jax.Array, jax.Array], g: jax.Array) -> Any:
    """Maps the cotangent ``g[N, H', W', O]`` to those of the images and the kernel."""
    on_cpu, on_cuda, other = (
        functools.partial(gradients, pads=pads, precision=precision)
        for gradients in (_gradients_on_cpu, _gradients_on_cuda, _gradients_by_autodiff)
    )
    return lax.platform_dependent(*saved, g, cpu=on_cpu, cuda=on_cuda, default=other)


def _gradients_on_cpu(x: jax.Array, w: jax.Array, g: jax.Array, pads: Pads, precision: Any) -> Any:
    if winograd.applies(x, w, pads, precision):
        return winograd.gradients(x, w, g, pads)
    opposite = tuple((size - 1 - low, size - 1 - high) for size, (low, high) in zip(w.shape, pads, strict=False))
    for_images = _conv(g, w[::-1, ::-1].swapaxes(2, 3), opposite, precision)
    return for_images, _kernel_gradient(x, w.shape, g, pads, opposite, precision)


def _gradients_on_cuda(x: jax.Array, w: jax.Array, g: jax.Array, pads: Pads, precision: Any) -> Any:
    for_images, for_kernel = _gradients_by_autodiff(x, w, g, pads, precision)
    if _has_few_products(x, w):
        # XLA does not compute autodiff's gradient of the kernel, which is replaced here.
        for_kernel = _kernel_gradient_of_views(x, w, g, pads, precision)
    return for_images, for_kernel


def _gradients_by_autodiff(x: jax.Array, w: jax.Array, g: jax.Array, pads: Pads, precision: Any) -> Any:
    return jax.vjp(lambda x, w: _conv(x, w, pads, precision), x, w)[1](g)


_convolve.defvjp(lambda x, w, pads, precision: (_convolve(x, w, pads, precision), (x, w)), _backward)


def _sum_of_products(x: jax.Array, w: jax.Array, *, pads: Pads) -> jax.Array:
    """Convolves images of one channel: the sum of one product for each place of the kernel."""
    return sum((view * w[*place, 0] for place, view in _views(x, w, pads)), start=jnp.zeros((), x.dtype))


def _kernel_gradient_of_views(x: jax.Array, w: jax.Array, g: jax.Array, pads: Pads, precision: Any) -> jax.Array:
    """Returns the gradient ``[h, w, 1, O]`` for images of one channel, as one matrix product of all views."""
    seen = jnp.concatenate([view for _, view in _views(x, w, pads)], axis=-1)
    return jnp.einsum("nhwk,nhwo->ko", seen, g, precision=precision).reshape(w.shape)


def _views(
    x: jax.Array, w: jax.Array, pads: Pads, strides: tuple[int, int] = (1, 1)
) -> list[tuple[tuple[int, int], jax.Array]]:
    """Returns each place of the kernel with its view: what it sees of the padded images, ``[N, H', W', C]``."""
    down, right = strides
    height, width = (n + sum(pad) - k for n, pad, k in zip(x.shape[1:3], pads, w.shape, strict=False))
    padded = _pad(x, ((0, 0), *pads, (0, 0)))
    places = [(i, j) for i in range(w.shape[0]) for j in range(w.shape[1])]
    return [((i, j), padded[:, i : i + height + 1 : down, j : j + width + 1 : right]) for i, j in places]


def _kernel_gradient(  # noqa: PLR0913, PLR0917
    x: jax.Array, shape: tuple[int, ...], g: jax.Array, pads: Pads, opposite: Pads, precision: Any
) -> jax.Array:
    """Returns the gradient ``[h, w, C, O]``; of images and cotangent, the one with more channels slides over the other.

    XLA's fast kernel has the one that slides as an operand of a matrix product, and is faster if that is wide.
    """
    if shape[2] <= shape[3]:
        return _correlate(x, g, pads, precision).transpose(1, 2, 0, 3)
    return _correlate(g, x, opposite, precision)[:, ::-1, ::-1].transpose(1, 2, 3, 0)


def _correlate(x: jax.Array, y: jax.Array, pads: Pads, precision: Any) -> jax.Array:
    """Slides ``y[N, h, w, F]`` over ``x[N, H, W, C]`` and sums over the examples: ``[C, H', W', F]``.

    It is a convolution with the examples as channels, in groups whose two operands fit a core's second-level cache.
    """
    size = max(_GROUP, -(-x.shape[0] // _MOST_GROUPS))
    groups = [slice(begin, begin + size) for begin in range(0, x.shape[0], size)]
    stage: Any = lax.optimization_barrier
    parts = (
        _conv(stage(x[i].transpose(3, 1, 2, 0)), stage(y[i].transpose(1, 2, 0, 3)), pads, precision) for i in groups
    )
    return sum(parts, start=jnp.zeros((), x.dtype))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolve_patches(x: jax.Array, w: jax.Array, strides: tuple[int, int], pads: Pads, precision: Any) -> jax.Array:
    """Convolves at any stride: on CPU as one product of what each output sees, whose gradients are products too."""
    on_cpu, other = _forms(strides, pads, precision)
    out: jax.Array = lax.platform_dependent(x, w, cpu=on_cpu, default=other)
    return out


def _forms(strides: tuple[int, int], pads: Pads, precision: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def on_cpu(x: jax.Array, w: jax.Array) -> jax.Array:
        seen = _seen(x, w, strides, pads)
        product = jnp.matmul(seen.reshape(-1, seen.shape[-1]), w.reshape(-1, w.shape[-1]), precision=precision)
        return product.reshape(*seen.shape[:3], -1)

    def other(x: jax.Array, w: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(x, w, strides, pads, dimension_numbers=_CANONICAL, precision=precision)

    return on_cpu, other


def _seen(x: jax.Array, w: jax.Array, strides: tuple[int, int], pads: Pads) -> jax.Array:
    """Returns what each output sees, ``[N, H', W', h * w * C]``."""
    down, right = strides
    if w.shape[:2] == strides and not any(map(any, pads)) and x.shape[1] % down == x.shape[2] % right == 0:
        # Tiles, such as those of a vision transformer: no view of each of their many places.
        tiles = x.reshape(x.shape[0], x.shape[1] // down, down, x.shape[2] // right, right, -1)
        return tiles.swapaxes(2, 3).reshape(*tiles.shape[:2], tiles.shape[3], -1)
    views = [view for _, view in _views(x, w, pads, strides)]
    seen: jax.Array = lax.optimization_barrier(jnp.concatenate(views, axis=-1)) if len(views) > 1 else views[0]
    return seen


def _backward_of_patches(strides: tuple[int, int], pads: Pads, precision: Any, saved: Any, g: jax.Array) -> Any:
    on_cpu, other = (lambda x, w, g, form=form: jax.vjp(form, x, w)[1](g) for form in _forms(strides, pads, precision))
    return lax.platform_dependent(*saved, g, cpu=on_cpu, default=other)


_convolve_patches.defvjp(lambda x, w, *others: (_convolve_patches(x, w, *others), (x, w)), _backward_of_patches)


def _pad(x: jax.Array, pads: Sequence[tuple[int, int]]) -> jax.Array:
    """Pads with zeros; a negative width cuts off."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(low, high, 0) for low, high in pads])


def is_slow_in_loop(jaxpr: Any) -> bool:
    """Returns whether a program has a convolution that XLA:CPU would run element by element inside a loop.

    That is one that is dilated on the left, grouped, or not in the order batch, space, features.
    """
    return any(
        operation.primitive.name == "conv_general_dilated" and _needs_rewriting(operation.params)
        for operation in operations(jaxpr)
    )


def operations(jaxpr: Any) -> Iterator[Any]:
    """Yields the operations of a program, as ``jax.make_jaxpr`` gives it, and those of the programs within them.

    Of the programs of ``platform_dependent`` it is only the one that runs on CPU.
    """
    for operation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield operation
        params = operation.params
        if platforms := params.get("branches_platforms"):
            inner = [next(b for b, p in zip(params["branches"], platforms, strict=True) if p is None or "cpu" in p)]
        else:
            leaves = jax.tree.leaves(list(params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns"))
            inner = [leaf for leaf in leaves if hasattr(getattr(leaf, "jaxpr", leaf), "eqns")]
        for part in inner:
            yield from operations(part)


def is_replaceable(params: dict[str, Any]) -> bool:
    """Returns whether `conv_general_dilated` has a form of its own for a convolution of JAX with these parameters."""
    images = len(params["dimension_numbers"].lhs_spec) == 4
    return images and not _needs_rewriting(params) and all(n == 1 for n in params["rhs_dilation"])


def _needs_rewriting(params: dict[str, Any]) -> bool:
    numbers = params["dimension_numbers"]
    last = len(numbers.lhs_spec) - 1
    space = tuple(range(last - 1))
    images = (0, last, *(n + 1 for n in space))
    in_order = numbers.lhs_spec == numbers.out_spec == images and numbers.rhs_spec == (last, last - 1, *space)
    groups = (params["feature_group_count"], params["batch_group_count"])
    return not in_order or any(n != 1 for n in (*params["lhs_dilation"], *groups))
