"""Winograd's convolution for CPUs: 3x3 at stride 1, with a quarter of the multiplications in its matrix products.

An output tile of 4x4 is a polynomial product of the 6x6 inputs that it sees and the kernel. Evaluated at six points in
each direction, the product is one multiplication at each of the 36 pairs of points, summed over the channels: 36
matrix products (Lavin and Gray 2015, arXiv:1509.09308, there F(4x4, 3x3)). docs/decisions/0010 says when it is taken,
and benchmarks/NOTES.md what it gains.

Images lie as ``[height, width, N, C]`` here, so that the channels and the examples of a place are one long row.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Matrix = npt.NDArray[np.float64]

_TILE = 4
_KERNEL = 3
_SEEN = _TILE + _KERNEL - 1
# Besides infinity. 1 and 2 instead of 3/4 and 3/2, as in the paper, make 1.6 times the error (Gaussian images and
# kernels, 32 channels), and all that is computed from these is exact in float32 except the kernel's matrix.
_POINTS = np.array([0, 3 / 4, -3 / 4, 3 / 2, -3 / 2])
# From so many channels in and out, and so many outputs a side, the transforms cost less than they save.
_FEWEST_CHANNELS = 8
_FEWEST_OUTPUTS = 7

_Pads = tuple[tuple[int, int], ...]


def _matrices() -> tuple[Matrix, Matrix, Matrix]:
    """Returns what maps 6 inputs, 3 kernel values and the 6 products to the six points, to them, and to 4 outputs."""
    others = [np.delete(_POINTS, index) for index in range(len(_POINTS))]
    images = [np.append(np.poly(roots)[::-1], 0) for roots in others] + [np.poly(_POINTS)[::-1]]
    scales = [np.prod(point - roots) for point, roots in zip(_POINTS, others, strict=True)]
    kernels = np.append(np.vander(_POINTS, _KERNEL, increasing=True) / np.c_[scales], [[0, 0, 1]], axis=0)
    outputs = np.append(np.vander(_POINTS, _TILE, increasing=True).T, np.eye(_TILE)[:, -1:], axis=1)
    return np.stack(images), kernels, outputs


_OF_IMAGES, _OF_KERNELS, _TO_OUTPUTS = _matrices()


def applies(x: jax.Array, w: jax.Array, pads: _Pads, precision: Any) -> bool:
    """Says whether a convolution of ``x[N, H, W, C]`` with ``w[h, w, C, O]`` can be done so, and gains by it.

    Args:
      x: the images.
      w: the kernel.
      pads: ``(low, high)`` of height and width.
      precision: as in ``jax.lax``; None is what ``jax_default_matmul_precision`` says. Any other than the default
        asks for the plain sum of products, whose rounding error is a fifth of this one's.
    """
    return (
        w.shape[:2] == (_KERNEL, _KERNEL)
        and min(w.shape[2:]) >= _FEWEST_CHANNELS
        and min(_out_shape(x, pads)) >= _FEWEST_OUTPUTS
        and all(0 <= width < _KERNEL for pad in pads for width in pad)
        and x.dtype in (jnp.float32, jnp.float64)
        and _is_default(precision)
    )


def convolve(x: jax.Array, w: jax.Array, pads: _Pads) -> jax.Array:
    """Convolves ``x[N, H, W, C]`` with ``w[3, 3, C, O]`` at stride 1: ``[N, H', W', O]``."""
    shape = _out_shape(x, pads)
    padded = _padded_images(x, pads, shape)
    out = _outputs(_product(_at_points(padded, _OF_IMAGES, (0, 0), shape), _kernels(w)), len(x), shape)
    # Of nothing but zeros, as on a blank background, the sum of products is zero. Here it would be some tiny number of
    # either sign, and a relu after it would let the gradient of every other place through while its bias is zero.
    return jnp.where(_sees_something(padded, shape), out, 0)


def gradients(x: jax.Array, w: jax.Array, g: jax.Array, pads: _Pads) -> tuple[jax.Array, jax.Array]:
    """Maps the cotangent ``g[N, H', W', O]`` of a convolution to those of its images and its kernel.

    That of the images is the convolution of ``g`` with the turned kernel. That of the kernel is the transpose of what
    maps it to the outputs, so it needs ``g`` as outputs too; both are cut from one padded copy. The images at their
    points are those of ``convolve``, and XLA computes them once for both.
    """
    shape, out_shape = x.shape[1:3], g.shape[1:3]
    lows = [_KERNEL - 1 - low for low, _ in pads]
    ends = [low + _TILE * _tiles(out) for low, out in zip(lows, out_shape, strict=True)]
    sizes = [max(_reach(size), end) for size, end in zip(shape, ends, strict=True)]
    padded = _padded(g, lows, sizes)
    for_images = _product(_at_points(padded, _OF_IMAGES, (0, 0), shape), _kernels(w[::-1, ::-1].swapaxes(2, 3)))
    images = _at_points(_padded_images(x, pads, out_shape), _OF_IMAGES, (0, 0), out_shape)
    for_kernel = _correlation(images, _at_points(padded, _TO_OUTPUTS.T, lows, out_shape))
    return _outputs(for_images, len(x), shape), _of_points(for_kernel)


def _is_default(precision: Any) -> bool:
    # JAX makes the attribute when it is imported, so mypy does not see it.
    asked = jax.config.jax_default_matmul_precision if precision is None else precision  # type: ignore[attr-defined]
    return asked in (None, "default", lax.Precision.DEFAULT)


def _out_shape(x: jax.Array, pads: _Pads) -> list[int]:
    return [size + sum(pad) - _KERNEL + 1 for size, pad in zip(x.shape[1:3], pads, strict=True)]


def _tiles(size: int) -> int:
    """Returns how many tiles cover so many outputs."""
    return -(-size // _TILE)


def _reach(size: int) -> int:
    """Returns how many inputs the tiles see that cover so many outputs."""
    return _TILE * _tiles(size) + _KERNEL - 1


def _stage(values: jax.Array) -> jax.Array:
    """Keeps XLA from computing values again wherever they are read; see also ``lrtrain.engine.program``."""
    staged: jax.Array = lax.optimization_barrier(values)
    return staged


def _padded_images(x: jax.Array, pads: _Pads, out_shape: Sequence[int]) -> jax.Array:
    """Returns all that the tiles of the outputs see of ``x[N, H, W, C]``."""
    return _padded(x, [low for low, _ in pads], [_reach(size) for size in out_shape])


def _sees_something(padded: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Tells where the kernel sees anything but zeros in images ``[H, W, N, C]``: ``bool[N, H', W', 1]``."""
    bits = jnp.dtype(f"int{8 * padded.dtype.itemsize}")
    # LLVM makes no vectors of a maximum of floats; of integers it does. The shift drops the sign of zero.
    joined = lax.reduce(lax.bitcast_convert_type(padded, bits) << 1, bits.type(0), lax.bitwise_or, (3,))
    something = _stage(joined != 0)
    places = [(i, j) for i in range(_KERNEL) for j in range(_KERNEL)]
    views = [something[i : i + shape[0], j : j + shape[1]] for i, j in places]
    return _stage(functools.reduce(jnp.logical_or, views)).transpose(2, 0, 1)[..., None]


def _kernels(w: jax.Array) -> jax.Array:
    """Returns ``w[3, 3, C, O]`` at the points, ``[36, C, O]``."""
    channels = w.shape[2:]
    half = _combined(_OF_KERNELS, [w[:, place].reshape(_KERNEL, -1) for place in range(_KERNEL)], 0)
    return _combined(_OF_KERNELS, [half[:, place] for place in range(_KERNEL)], 1).reshape(_SEEN**2, *channels)


def _product(images: jax.Array, kernels: jax.Array) -> jax.Array:
    """Multiplies at each of the 36 points, ``[36, tiles * N, C]`` with ``[36, C, O]``, and sums over the channels."""
    return _stage(lax.dot_general(images, kernels, (((2,), (1,)), ((0,), (0,)))))


def _correlation(images: jax.Array, outputs: jax.Array) -> jax.Array:
    """Multiplies ``[36, tiles * N, C]`` with ``[36, tiles * N, O]`` and sums over the tiles: ``[36, C, O]``."""
    over_tiles = (((1,), (1,)), ((0,), (0,)))
    # Eigen copies the left operand to transpose it, so that is the smaller one.
    if images.shape[-1] <= outputs.shape[-1]:
        return _stage(lax.dot_general(images, outputs, over_tiles))
    return _stage(lax.dot_general(outputs, images, over_tiles)).swapaxes(1, 2)


def _outputs(products: jax.Array, examples: int, shape: Sequence[int]) -> jax.Array:
    """Maps products ``[36, tiles * N, O]`` to the outputs of a shape, ``[N, H', W', O]``."""
    height, width = map(_tiles, shape)
    places = products.reshape(_SEEN, _SEEN, height, width, -1)
    half = _combined(_TO_OUTPUTS, list(places), 3).reshape(_SEEN, height, -1)
    whole = _combined(_TO_OUTPUTS, list(half), 1).reshape(_TILE * height, _TILE * width, examples, -1)
    return whole[: shape[0], : shape[1]].transpose(2, 0, 1, 3)


def _of_points(sums: jax.Array) -> jax.Array:
    """Maps the gradient at the points, ``[36, C, O]``, to that of the kernel, ``[3, 3, C, O]``."""
    places = sums.reshape(_SEEN, -1)
    half = _combined(_OF_KERNELS.T, list(places), 0).reshape(_KERNEL, _SEEN, -1)
    whole = _combined(_OF_KERNELS.T, [half[:, point] for point in range(_SEEN)], 0)
    return whole.reshape(_KERNEL, _KERNEL, *sums.shape[1:])


def _padded(x: jax.Array, lows: Sequence[int], sizes: Sequence[int]) -> jax.Array:
    """Puts ``x[N, H, W, C]`` into zeros ``[*sizes, N, C]``, with so many of them before it."""
    pads = [(low, size - low - n, 0) for low, size, n in zip(lows, sizes, x.shape[1:3], strict=True)]
    moved = x.transpose(1, 2, 0, 3)
    return _stage(lax.pad(moved, jnp.zeros((), x.dtype), [*pads, (0, 0, 0), (0, 0, 0)]))


def _at_points(padded: jax.Array, matrix: Matrix, first: Sequence[int], shape: Sequence[int]) -> jax.Array:
    """Multiplies every tile of ``padded[H, W, N, C]`` by a matrix from both sides: ``[36, tiles * N, C]``.

    The tiles begin at ``first`` and cover outputs of a shape. The rows are multiplied before the columns, and the
    points of the columns come first in the result.
    """
    height, width, _, channels = padded.shape
    # One row of all that can be one: XLA:CPU would write a loop over 16 channels out, without vectors.
    rows = [_every_fourth(padded.reshape(height, -1), first[0] + i, shape[0], 0) for i in range(matrix.shape[1])]
    half = _combined(matrix, rows, 0).reshape(_SEEN * _tiles(shape[0]), width, -1)
    columns = [_every_fourth(half, first[1] + i, shape[1], 1) for i in range(matrix.shape[1])]
    return _combined(matrix, columns, 0).reshape(_SEEN**2, -1, channels)


def _every_fourth(values: jax.Array, first: int, size: int, axis: int) -> jax.Array:
    """Returns one place of each tile that covers so many outputs."""
    return lax.slice_in_dim(values, first, first + _TILE * (_tiles(size) - 1) + 1, _TILE, axis)


def _combined(matrix: Matrix, parts: Sequence[jax.Array], axis: int) -> jax.Array:
    """Multiplies a matrix with parts, ``sum(matrix[:, i] * parts[i])``, and puts the results along a new axis."""
    sums = [
        functools.reduce(jnp.add, [float(factor) * part for factor, part in zip(row, parts, strict=True) if factor])
        for row in matrix
    ]
    return _stage(jnp.stack(sums, axis))
