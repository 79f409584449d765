from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lrtrain.nn import conv as lrtrain_conv
from lrtrain.nn.conv import conv_general_dilated, is_slow_in_loop
from tests.nn.convolutions import by_numpy, example, random

NHWC = ("NHWC", "HWIO", "NHWC")
CASES: list[tuple[tuple[int, ...], tuple[int, ...], Any]] = [
    ((4, 9, 7, 3), (3, 3, 3, 5), "SAME"),
    ((4, 9, 7, 3), (3, 3, 3, 5), "VALID"),
    ((2, 8, 8, 1), (5, 5, 1, 2), "SAME"),
    ((2, 8, 8, 4), (1, 1, 4, 2), "SAME"),
    ((2, 8, 7, 1), (3, 3, 1, 2), "VALID"),
    ((2, 8, 7, 1), (2, 3, 1, 4), "SAME"),
    ((3, 8, 9, 2), (2, 4, 2, 3), "SAME"),
    ((3, 8, 9, 2), (2, 4, 2, 3), "VALID"),
    ((3, 6, 6, 2), (3, 3, 2, 3), [(2, 1), (0, 3)]),
    ((3, 6, 6, 2), (2, 2, 2, 3), [(3, 0), (1, 1)]),
    ((3, 6, 7, 4), (2, 3, 4, 2), [(2, 0), (0, 3)]),
    ((19, 6, 7, 4), (3, 2, 4, 3), "SAME"),
    ((19, 6, 7, 3), (3, 2, 3, 4), "VALID"),
    ((70, 5, 5, 3), (3, 3, 3, 2), "SAME"),
]


def gradients(conv: Any, x: jax.Array, w: jax.Array, g: jax.Array, **options: Any) -> Any:
    out, pull = jax.vjp(lambda x, w: conv(x, w, dimension_numbers=NHWC, **options), x, w)
    return out, *pull(g)


@pytest.mark.parametrize(("images", "kernel", "padding"), CASES)
def test_result_and_gradients_are_those_of_the_definition(images: Any, kernel: Any, padding: Any) -> None:
    x, w, g, pads = example(images, kernel, padding)
    ours = gradients(conv_general_dilated, x, w, g, window_strides=(1, 1), padding=padding)
    for mine, reference in zip(ours, by_numpy(x, w, g, pads), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-5, atol=1e-5)


TILES: list[Any] = [((3, 8, 12, 3), (4, 4, 3, 5), "SAME"), ((3, 8, 12, 3), (4, 3, 3, 5), "VALID")]


@pytest.mark.parametrize(("images", "kernel", "padding"), TILES)
def test_tiles(images: Any, kernel: Any, padding: Any) -> None:
    test_strides(images, kernel, padding, kernel[:2])


@pytest.mark.parametrize("strides", [(2, 2), (1, 2), (3, 2)])
@pytest.mark.parametrize(("images", "kernel", "padding"), CASES)
def test_strides(images: Any, kernel: Any, padding: Any, strides: tuple[int, int]) -> None:
    x, w, g, pads = example(images, kernel, padding, strides)
    for form in (conv_general_dilated, other_than_cpu):
        ours = gradients(form, x, w, g, window_strides=strides, padding=padding)
        for mine, reference in zip(ours, by_numpy(x, w, g, pads, strides), strict=True):
            np.testing.assert_allclose(mine, reference, rtol=1e-5, atol=1e-5)
    program = jax.make_jaxpr(lambda *xwg: gradients(conv_general_dilated, *xwg, window_strides=strides, padding=pads))
    assert not is_slow_in_loop(program(x, w, g))


def other_than_cpu(x: jax.Array, w: jax.Array, *, window_strides: Any, padding: Any, **_: Any) -> jax.Array:
    pads = (
        lax.padtype_to_pads(x.shape[1:3], w.shape[:2], window_strides, padding) if isinstance(padding, str) else padding
    )
    out: jax.Array = lrtrain_conv._forms(window_strides, tuple(pads), None)[1](x, w)
    return out


@pytest.mark.parametrize(("images", "kernel", "padding"), CASES)
def test_gradients_of_a_gpu_are_those_of_the_definition(images: Any, kernel: Any, padding: Any) -> None:
    x, w, g, pads = example(images, kernel, padding)
    ours = lrtrain_conv._gradients_on_cuda(x, w, g, pads, None)
    for mine, reference in zip(ours, by_numpy(x, w, g, pads)[1:], strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("images", "kernel", "padding"), CASES)
def test_gradients_need_no_rewriting(images: Any, kernel: Any, padding: Any) -> None:
    def loss(conv: Any, x: jax.Array, w: jax.Array) -> jax.Array:
        return jnp.sum(conv(x, w, (1, 1), padding, dimension_numbers=NHWC) ** 2)

    def jaxpr(conv: Any) -> Any:
        return jax.make_jaxpr(jax.jit(jax.grad(lambda *xw: loss(conv, *xw), (0, 1))))(
            random(0, images), random(1, kernel)
        )

    assert not is_slow_in_loop(jaxpr(conv_general_dilated))
    assert is_slow_in_loop(jaxpr(lax.conv_general_dilated))


OTHERS: list[dict[str, Any]] = [
    {"lhs_dilation": (1, 2)},
    {"rhs_dilation": (2, 2)},
    {"feature_group_count": 2},
    {"batch_group_count": 2},
]


@pytest.mark.parametrize("options", OTHERS)
def test_what_it_cannot_do_is_passed_on(options: dict[str, Any]) -> None:
    options = {"window_strides": (1, 1), "padding": [(1, 0), (0, 1)], **options}
    groups = options.get("feature_group_count", 1)
    x, w = random(0, (4, 8, 8, 4)), random(1, (3, 3, 4 // groups, 4))
    g = random(2, lax.conv_general_dilated(x, w, dimension_numbers=NHWC, **options).shape)
    ours = gradients(conv_general_dilated, x, w, g, **options)
    for mine, reference in zip(ours, gradients(lax.conv_general_dilated, x, w, g, **options), strict=True):
        np.testing.assert_array_equal(mine, reference)


@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_a_kernel_that_does_not_fit_gives_nothing(strides: tuple[int, int]) -> None:
    x, w = random(0, (2, 4, 9, 3)), random(1, (5, 3, 3, 2))
    ours, expected = (
        conv(x, w, strides, "VALID", dimension_numbers=NHWC)
        for conv in (conv_general_dilated, lax.conv_general_dilated)
    )
    assert ours.shape == expected.shape
    assert 0 in ours.shape


def test_images_of_any_size_can_be_exported() -> None:
    sizes = jax.export.symbolic_shape("n, h, w, 3", constraints=["h >= 3", "w >= 3"])
    images = jax.ShapeDtypeStruct(sizes, jnp.float32)
    x, w = random(0, (2, 9, 7, 3)), random(1, (3, 3, 3, 2))
    conv = jax.jit(lambda x: conv_general_dilated(x, w, (2, 2), "VALID", dimension_numbers=NHWC))
    np.testing.assert_allclose(jax.export.export(conv)(images).call(x), conv(x), rtol=1e-5, atol=1e-5)


def test_other_dimension_numbers_and_ranks_are_passed_on() -> None:
    x, w = random(0, (2, 3, 8, 8)), random(1, (5, 3, 3, 3))
    np.testing.assert_array_equal(
        conv_general_dilated(x, w, (1, 1), "SAME"), lax.conv_general_dilated(x, w, (1, 1), "SAME")
    )
    line, filters = random(0, (2, 3, 8)), random(1, (5, 3, 3))
    np.testing.assert_array_equal(
        conv_general_dilated(line, filters, (1,), "SAME"), lax.conv_general_dilated(line, filters, (1,), "SAME")
    )


@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR", 2])
def test_drop_in_for_flax(padding: Any) -> None:
    x = random(0, (2, 8, 8, 3))
    plain = nn.Conv(4, (3, 3), padding=padding)
    ours = nn.Conv(4, (3, 3), padding=padding, conv_general_dilated=conv_general_dilated)
    variables = plain.init(jax.random.key(0), x)
    np.testing.assert_allclose(ours.apply(variables, x), plain.apply(variables, x), rtol=1e-5, atol=1e-5)
