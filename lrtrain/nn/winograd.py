"""Winograd's convolution for CPUs: 3x3 at stride 1, with a quarter of the multiplications in its matrix products.

This is F(4x4, 3x3) of Lavin and Gray (2015, arXiv:1509.09308, https://arxiv.org/abs/1509.09308), with their names. A
tile ``Y`` of 4x4 outputs is computed from the 6x6 inputs ``d`` that it sees and the kernel ``g`` by their equation (8),

    Y = A^T [U * V] A   with   U = G g G^T   and   V = B^T d B,

where ``*`` multiplies element by element. ``G`` and ``B^T`` evaluate polynomials at six points in each direction, and
``A^T`` interpolates their product. At each of the 36 pairs of points the sum over the channels is a matrix product.
`lrtrain.nn.conv` chooses it on a CPU where `applies` says so. docs/decisions/0010 has the reasons, and
benchmarks/NOTES.md what it gains.

The order of dimensions is ``[height, width, N, C]`` here: all channels and examples of a pixel are one long row.
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
# Besides infinity. The paper's points, 1 and 2 instead of 3/4 and 3/2, have 1.6 times the error (Gaussian images and
# kernels, 32 channels). With these, B^T and A^T are exact in float32, and G is not.
_POINTS = np.array([0, 3 / 4, -3 / 4, 3 / 2, -3 / 2])
# With fewer channels in or out, or fewer outputs in a direction, the transforms cost more than they save.
_FEWEST_CHANNELS = 8
_FEWEST_OUTPUTS = 7
# Unless the outputs are one whole tile: with this many examples the transforms of the kernel cost little beside theirs.
_FEWEST_TILES = 16

Pads = tuple[tuple[int, int], ...]


def _matrices() -> tuple[Matrix, Matrix, Matrix]:
    """Returns ``B^T`` [6, 6], ``G`` [6, 3] and ``A^T`` [4, 6] for these points, infinity being the last."""
    others = [np.delete(_POINTS, index) for index in range(len(_POINTS))]
    b_t = [np.append(np.poly(roots)[::-1], 0) for roots in others] + [np.poly(_POINTS)[::-1]]
    scales = [np.prod(point - roots) for point, roots in zip(_POINTS, others, strict=True)]
    g = np.append(np.vander(_POINTS, _KERNEL, increasing=True) / np.c_[scales], [[0, 0, 1]], axis=0)
    a_t = np.append(np.vander(_POINTS, _TILE, increasing=True).T, np.eye(_TILE)[:, -1:], axis=1)
    return np.stack(b_t), g, a_t


_B_T, _G, _A_T = _matrices()


def applies(x: jax.Array, w: jax.Array, pads: Pads, precision: Any) -> bool:
    """Returns whether a convolution of ``x[N, H, W, C]`` with ``w[h, w, C, O]`` can be Winograd's, and is faster then.

    A ``precision`` of None is what ``jax_default_matmul_precision`` says. Any other than the default asks for the plain
    sum of products, whose rounding error is a fifth of Winograd's.
    """
    # JAX adds the attributes of its options when it is imported, where mypy does not see them.
    asked = jax.config.jax_default_matmul_precision if precision is None else precision  # type: ignore[attr-defined]
    return (
        w.shape[:2] == (_KERNEL, _KERNEL)
        and min(w.shape[2:]) >= _FEWEST_CHANNELS
        and _are_many(_out_shape(x, pads), x.shape[0])
        and all(0 <= width < _KERNEL for pad in pads for width in pad)
        and x.dtype in (jnp.float32, jnp.float64)
        and asked in (None, "default", lax.Precision.DEFAULT)
    )


def _are_many(out_shape: Sequence[int], examples: int) -> bool:
    one_tile = all(size == _TILE for size in out_shape) and examples >= _FEWEST_TILES
    return one_tile or min(out_shape) >= _FEWEST_OUTPUTS


def convolve(x: jax.Array, w: jax.Array, pads: Pads) -> jax.Array:
    """Convolves ``x[N, H, W, C]`` with ``w[3, 3, C, O]`` at stride 1: ``[N, H', W', O]``."""
    shape = _out_shape(x, pads)
    padded = _padded_images(x, pads, shape)
    out = _outputs(_product(_at_points(padded, _B_T, (0, 0), shape), _kernels(w)), len(x), shape)
    # Where all inputs are zeros, as on a blank background, the sum of products is zero. Winograd's result is a tiny
    # number of either sign there, and a relu after it would pass the gradient of every other pixel while its bias is 0.
    return jnp.where(_sees_nonzero(padded, shape), out, 0)


def gradients(x: jax.Array, w: jax.Array, g: jax.Array, pads: Pads) -> tuple[jax.Array, jax.Array]:
    """Maps the cotangent ``g[N, H', W', O]`` of a convolution to those of its images and its kernel.

    The cotangent of the images is the convolution of ``g`` with the turned kernel. The cotangent of the kernel is the
    transpose of equation (8), ``G^T [V * (A g A^T)] G``. Both read ``g`` from one padded copy. ``V`` is that of
    ``convolve``, and XLA computes it once for both.
    """
    shape, out_shape = x.shape[1:3], g.shape[1:3]
    lows = [_KERNEL - 1 - low for low, _ in pads]
    ends = [low + _TILE * _tiles(out) for low, out in zip(lows, out_shape, strict=True)]
    sizes = [max(_reach(size), end) for size, end in zip(shape, ends, strict=True)]
    padded = _padded(g, lows, sizes)
    for_images = _product(_at_points(padded, _B_T, (0, 0), shape), _kernels(w[::-1, ::-1].swapaxes(2, 3)))
    images = _at_points(_padded_images(x, pads, out_shape), _B_T, (0, 0), out_shape)
    for_kernel = _correlation(images, _at_points(padded, _A_T.T, lows, out_shape))
    return _outputs(for_images, len(x), shape), _of_points(for_kernel)


def _out_shape(x: jax.Array, pads: Pads) -> list[int]:
    return [size + sum(pad) - _KERNEL + 1 for size, pad in zip(x.shape[1:3], pads, strict=True)]


def _tiles(size: int) -> int:
    """Returns the number of tiles that cover ``size`` outputs."""
    return -(-size // _TILE)


def _reach(size: int) -> int:
    """Returns the number of inputs that the tiles of ``size`` outputs see."""
    return _TILE * _tiles(size) + _KERNEL - 1


def _stage(values: jax.Array) -> jax.Array:
    """Keeps XLA from computing values again at each use; see also ``lrtrain.engine.program``."""
    staged: jax.Array = lax.optimization_barrier(values)
    return staged


def _padded_images(x: jax.Array, pads: Pads, out_shape: Sequence[int]) -> jax.Array:
    """Returns the part of ``x[N, H, W, C]`` that the tiles of the outputs see."""
    return _padded(x, [low for low, _ in pads], [_reach(size) for size in out_shape])


def _sees_nonzero(padded: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Returns where the kernel sees a number other than 0 in images ``[H, W, N, C]``: ``bool[N, H', W', 1]``."""
    bits = jnp.dtype(f"int{8 * padded.dtype.itemsize}")
    # LLVM makes vectors of an or of integers, and none of a maximum of floats. The shift drops the sign of zero.
    joined = lax.reduce(lax.bitcast_convert_type(padded, bits) << 1, bits.type(0), lax.bitwise_or, (3,))
    nonzero = _stage(joined != 0)
    places = [(i, j) for i in range(_KERNEL) for j in range(_KERNEL)]
    views = [nonzero[i : i + shape[0], j : j + shape[1]] for i, j in places]
    return _stage(functools.reduce(jnp.logical_or, views)).transpose(2, 0, 1)[..., None]


def _kernels(w: jax.Array) -> jax.Array:
    """Returns ``U = G w G^T`` of the kernels ``w[3, 3, C, O]``: ``[36, C, O]``."""
    channels = w.shape[2:]
    half = _combined(_G, [w[:, place].reshape(_KERNEL, -1) for place in range(_KERNEL)], 0)
    return _combined(_G, [half[:, place] for place in range(_KERNEL)], 1).reshape(_SEEN**2, *channels)


def _product(images: jax.Array, kernels: jax.Array) -> jax.Array:
    """Returns ``V * U`` summed over the channels, ``[36, tiles * N, C]`` with ``[36, C, O]``: 36 matrix products."""
    return _stage(lax.dot_general(images, kernels, (((2,), (1,)), ((0,), (0,)))))


def _correlation(images: jax.Array, outputs: jax.Array) -> jax.Array:
    """Multiplies ``[36, tiles * N, C]`` with ``[36, tiles * N, O]`` and sums over the tiles: ``[36, C, O]``."""
    over_tiles = (((1,), (1,)), ((0,), (0,)))
    # Eigen copies the left operand to transpose it, so that is the smaller one.
    if images.shape[-1] <= outputs.shape[-1]:
        return _stage(lax.dot_general(images, outputs, over_tiles))
    return _stage(lax.dot_general(outputs, images, over_tiles)).swapaxes(1, 2)


def _outputs(products: jax.Array, examples: int, shape: Sequence[int]) -> jax.Array:
    """Returns ``Y = A^T M A`` of products ``M[36, tiles * N, O]``: outputs of a shape, ``[N, H', W', O]``."""
    height, width = map(_tiles, shape)
    places = products.reshape(_SEEN, _SEEN, height, width, -1)
    half = _combined(_A_T, list(places), 3).reshape(_SEEN, height, -1)
    whole = _combined(_A_T, list(half), 1).reshape(_TILE * height, _TILE * width, examples, -1)
    return whole[: shape[0], : shape[1]].transpose(2, 0, 1, 3)


def _of_points(sums: jax.Array) -> jax.Array:
    """Returns ``G^T dU G``, the gradient of the kernel ``[3, 3, C, O]``, from that of ``U``, ``dU[36, C, O]``."""
    places = sums.reshape(_SEEN, -1)
    half = _combined(_G.T, list(places), 0).reshape(_KERNEL, _SEEN, -1)
    whole = _combined(_G.T, [half[:, point] for point in range(_SEEN)], 0)
    return whole.reshape(_KERNEL, _KERNEL, *sums.shape[1:])


def _padded(x: jax.Array, lows: Sequence[int], sizes: Sequence[int]) -> jax.Array:
    """Puts ``x[N, H, W, C]`` into zeros ``[*sizes, N, C]``, with ``lows`` of them before it."""
    pads = [(low, size - low - n, 0) for low, size, n in zip(lows, sizes, x.shape[1:3], strict=True)]
    moved = x.transpose(1, 2, 0, 3)
    return _stage(lax.pad(moved, jnp.zeros((), x.dtype), [*pads, (0, 0, 0), (0, 0, 0)]))


def _at_points(padded: jax.Array, matrix: Matrix, first: Sequence[int], shape: Sequence[int]) -> jax.Array:
    """Returns ``matrix d matrix^T`` of every tile ``d`` of ``padded[H, W, N, C]``: ``[36, tiles * N, C]``.

    With ``B^T`` that is ``V``. The tiles begin at ``first`` and cover outputs of a shape. The rows are multiplied
    before the columns, and the points of the columns come first in the result, as in ``U``.
    """
    height, width, _, channels = padded.shape
    # All other dimensions are joined to one row: XLA:CPU would unroll a loop over 16 channels, without vectors.
    rows = [_every_fourth(padded.reshape(height, -1), first[0] + i, shape[0], 0) for i in range(matrix.shape[1])]
    half = _combined(matrix, rows, 0).reshape(_SEEN * _tiles(shape[0]), width, -1)
    columns = [_every_fourth(half, first[1] + i, shape[1], 1) for i in range(matrix.shape[1])]
    return _combined(matrix, columns, 0).reshape(_SEEN**2, -1, channels)


def _every_fourth(values: jax.Array, first: int, size: int, axis: int) -> jax.Array:
    """Returns one place of each tile that covers ``size`` outputs."""
    return lax.slice_in_dim(values, first, first + _TILE * (_tiles(size) - 1) + 1, _TILE, axis)


def _combined(matrix: Matrix, parts: Sequence[jax.Array], axis: int) -> jax.Array:
    """Multiplies a matrix with parts, ``sum(matrix[:, i] * parts[i])``, and puts the results along a new axis."""
    sums = [
        functools.reduce(jnp.add, [float(factor) * part for factor, part in zip(row, parts, strict=True) if factor])
        for row in matrix
    ]
    return _stage(jnp.stack(sums, axis))
