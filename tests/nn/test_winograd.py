"""Winograd's convolution: the numbers of the definition, where it is taken, and that XLA keeps its stages apart."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lrtrain.engine.program import CPU_OPTIONS
from lrtrain.nn import winograd
from lrtrain.nn.conv import conv_general_dilated
from tests.nn.convolutions import by_numpy, example, random

NHWC = ("NHWC", "HWIO", "NHWC")
CASES: list[tuple[tuple[int, ...], tuple[int, ...], Any]] = [
    ((2, 28, 28, 32), (3, 3, 32, 16), "SAME"),
    ((2, 8, 8, 16), (3, 3, 16, 32), "SAME"),
    ((3, 9, 7, 8), (3, 3, 8, 9), "SAME"),
    ((3, 9, 10, 9), (3, 3, 9, 8), "VALID"),
    ((2, 10, 11, 8), (3, 3, 8, 8), [(0, 2), (2, 0)]),
    ((1, 7, 15, 8), (3, 3, 8, 8), [(1, 2), (0, 0)]),
    ((2, 6, 5, 8), (3, 3, 8, 8), [(2, 2), (2, 2)]),
    ((16, 4, 4, 8), (3, 3, 8, 16), "SAME"),
]


def compiled(function: Any, *given: jax.Array) -> Any:
    """Calls a function as one program, as a training step does: hundreds of small ones take long to compile."""
    return jax.jit(function, compiler_options=CPU_OPTIONS)(*given)


def both(conv: Any, x: jax.Array, w: jax.Array, g: jax.Array) -> Any:
    def out_and_gradients(x: jax.Array, w: jax.Array, g: jax.Array) -> Any:
        out, pull = jax.vjp(conv, x, w)
        return out, *pull(g)

    return compiled(out_and_gradients, x, w, g)


@pytest.mark.parametrize(("images", "kernel", "padding"), CASES)
def test_result_and_gradients_are_those_of_the_definition(images: Any, kernel: Any, padding: Any) -> None:
    x, w, g, pads = example(images, kernel, padding)
    assert winograd.applies(x, w, pads, None)
    ours = both(lambda x, w: conv_general_dilated(x, w, (1, 1), padding, dimension_numbers=NHWC), x, w, g)
    for mine, reference in zip(ours, by_numpy(x, w, g, pads), strict=True):
        # The transforms mix numbers of a whole tile, so the error is one of the largest of them.
        np.testing.assert_allclose(mine, reference, rtol=0, atol=5e-6 * np.abs(reference).max())


@pytest.mark.parametrize(("images", "kernel", "padding"), CASES)
def test_in_float64_only_rounding_remains(images: Any, kernel: Any, padding: Any) -> None:
    with jax.enable_x64(True):
        x, w, g, pads = example(images, kernel, padding)
        x, w, g = (values.astype(jnp.float64) for values in (x, w, g))
        ours = compiled(lambda x, w, g: (winograd.convolve(x, w, pads), *winograd.gradients(x, w, g, pads)), x, w, g)
        for mine, reference in zip(ours, by_numpy(x, w, g, pads), strict=True):
            assert mine.dtype == jnp.float64
            np.testing.assert_allclose(mine, reference, rtol=0, atol=1e-14 * np.abs(reference).max())


def test_the_error_is_a_few_roundings() -> None:
    """Five times that of the sum of products in the mean; twenty would be the paper's method at one more point."""
    x, w, _, pads = example((8, 28, 28, 32), (3, 3, 32, 16), "SAME")
    reference = by_numpy(x, w, np.zeros((8, 28, 28, 16)), pads)[0]
    errors = [np.abs(out - reference).mean() for out in (winograd.convolve(x, w, pads), plain(x, w, pads))]
    assert errors[0] < 10 * errors[1]


def test_of_nothing_but_zeros_comes_zero() -> None:
    """As on the background of a picture: not some tiny number of either sign, which a relu would let through."""
    x, w, _, pads = example((3, 14, 13, 8), (3, 3, 8, 8), "SAME")
    x = x.at[0].set(0).at[1, :6].set(0).at[2, 5:, 3:9].set(-0.0)
    reference = by_numpy(x, w, np.zeros((3, 14, 13, 8)), pads)[0]
    np.testing.assert_array_equal(winograd.convolve(x, w, pads) == 0, reference == 0)


def test_the_first_gradient_of_a_network_on_blank_backgrounds() -> None:
    """With biases of zero it depends on which side of a relu the background is."""
    images = jnp.abs(random(0, (4, 14, 14, 8))).at[:, :, :5].set(0).at[:, 10:].set(0)
    kernel = random(1, (3, 3, 8, 16))

    def total(bias: jax.Array, conv: Any) -> jax.Array:
        out = conv(images, kernel, (1, 1), "SAME", dimension_numbers=NHWC) + bias
        return jnp.sum(jnp.maximum(out, 0) * random(2, out.shape))

    ours, reference = (
        jax.grad(total)(jnp.zeros(16), conv) for conv in (conv_general_dilated, lax.conv_general_dilated)
    )
    np.testing.assert_allclose(ours, reference, rtol=1e-5, atol=1e-4)


def plain(x: jax.Array, w: jax.Array, pads: Any) -> jax.Array:
    return lax.conv_general_dilated(x, w, (1, 1), pads, dimension_numbers=NHWC)


APPLIES = {"images": (2, 8, 8, 8), "kernel": (3, 3, 8, 8), "pads": ((1, 1), (1, 1))}
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("few channels in", {"images": (2, 8, 8, 7), "kernel": (3, 3, 7, 8)}),
    ("few channels out", {"kernel": (3, 3, 8, 7)}),
    ("few outputs", {"images": (16, 6, 8, 8)}),
    ("one tile of few examples", {"images": (15, 4, 4, 8)}),
    ("no whole tile", {"images": (16, 4, 5, 8)}),
    ("another kernel", {"kernel": (3, 5, 8, 8)}),
    ("padding wider than the kernel reaches", {"pads": ((1, 1), (1, 3))}),
    ("padding that cuts off", {"pads": ((-1, 1), (1, 1))}),
    ("half precision", {"dtype": jnp.bfloat16}),
    ("a wish for precision", {"precision": lax.Precision.HIGHEST}),
    ("a wish for each operand", {"precision": (lax.Precision.HIGH, lax.Precision.DEFAULT)}),
]


def applies(**given: Any) -> bool:
    given = {**APPLIES, "dtype": jnp.float32, "precision": None, **given}
    x, w = (jax.ShapeDtypeStruct(given[name], given["dtype"]) for name in ("images", "kernel"))
    return winograd.applies(x, w, given["pads"], given["precision"])


def test_where_it_is_taken() -> None:
    assert applies()
    assert applies(precision=lax.Precision.DEFAULT)
    assert applies(dtype=jnp.float64)
    assert applies(images=(16, 4, 4, 8))


def test_the_default_of_the_process_counts() -> None:
    for name, expected in (("highest", False), ("float32", False), ("default", True)):
        with jax.default_matmul_precision(name):
            assert applies() is expected
            assert applies(precision=lax.Precision.DEFAULT)


@pytest.mark.parametrize("given", [given for _, given in OTHERS], ids=[name for name, _ in OTHERS])
def test_where_it_is_not(given: dict[str, Any]) -> None:
    assert not applies(**given)


def test_a_wish_for_precision_gives_the_plain_sum_of_products() -> None:
    x, w, g, pads = example((2, 8, 8, 8), (3, 3, 8, 8), "SAME")
    options = {"dimension_numbers": NHWC, "precision": lax.Precision.HIGHEST}
    np.testing.assert_array_equal(conv_general_dilated(x, w, (1, 1), pads, **options), plain(x, w, pads))
    for mine, reference in zip(
        both(lambda x, w: conv_general_dilated(x, w, (1, 1), pads, **options), x, w, g),
        by_numpy(x, w, g, pads),
        strict=True,
    ):
        np.testing.assert_allclose(mine, reference, rtol=1e-5, atol=1e-5)


def test_under_vmap() -> None:
    x, w = random(0, (3, 2, 8, 8, 8)), random(1, (3, 3, 3, 8, 8))
    pads = ((1, 1), (1, 1))
    ours = jax.vmap(lambda x, w: winograd.convolve(x, w, pads))(x, w)
    for mine, images, kernel in zip(ours, x, w, strict=True):
        np.testing.assert_allclose(mine, plain(images, kernel, pads), rtol=1e-4, atol=1e-4)


def barriers(options: dict[str, Any] | None) -> int:
    """Counts the stages that XLA has not merged in a convolution and its gradients."""

    def total(x: jax.Array, w: jax.Array) -> jax.Array:
        return jnp.sum(conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=NHWC) ** 2)

    x, w = random(0, (8, 28, 28, 32)), random(1, (3, 3, 32, 16))
    program = jax.jit(jax.grad(total, (0, 1)), compiler_options=options).lower(x, w).compile()
    return program.as_text().count(" opt-barrier(")


def test_xla_keeps_the_stages_apart() -> None:
    """It would merge them, and compute one for each time that the next reads it: the step takes half as long again."""
    images = 3  # padded, rows, columns; once for the result and for the kernel's gradient
    blank = 2  # where something is, and where the kernel sees it
    cotangent = 1 + 2 + 2  # padded once, and taken for images and for outputs
    kernels, products, outputs, gradient = 2 * 2, 3, 2 * 2, 2
    assert barriers(CPU_OPTIONS) == images + blank + cotangent + kernels + products + outputs + gradient
    assert barriers(None) == 0, "XLA merges nothing by itself any more, and the option can go"
