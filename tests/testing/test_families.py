"""Schedules evaluated together have the bits that they have alone, late boundaries included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrtrain.testing.evaluation import compiled_values, exact_values
from lrtrain.testing.families import families
from lrtrain.testing.subject import Subject

STEPS = 512
LENGTHS = [*range(8, 75), 235, 512]


def compiled_alone(built: Callable[[Any], Any]) -> np.ndarray:
    return np.broadcast_to(np.asarray(jax.jit(jax.vmap(built))(np.arange(STEPS, dtype=np.int32)), np.float32), (STEPS,))


def exact_alone(built: Callable[[Any], Any]) -> np.ndarray:
    with jax.enable_x64(True):
        return np.broadcast_to(np.asarray(jax.vmap(built)(np.arange(STEPS)), np.float64), (STEPS,))


@pytest.mark.parametrize(
    "spec", ["constant", "piecewise-constant", "multistep", "join(schedules=[linear, cosine-decay], boundaries=[25%])"]
)
def test_plugins(spec: str) -> None:
    subject = Subject(spec.partition("(")[0], [spec])
    schedules = [subject.build(subject.specs[-1], length) for length in LENGTHS]
    together, exact = compiled_values(schedules, STEPS), exact_values(schedules, STEPS)
    assert sorted(together) == list(range(len(LENGTHS)))
    for place in (0, 1, 44, 67, 68):
        np.testing.assert_array_equal(together[place], compiled_alone(schedules[place]))
        np.testing.assert_array_equal(exact[place], exact_alone(schedules[place]))


def late(length: int) -> Callable[[Any], Any]:
    return lambda count: jnp.floor(jnp.asarray(count, float) / length)


def test_a_division_is_a_product_with_the_reciprocal_as_it_is_alone() -> None:
    lengths = [*range(2, 60), 235, 237]
    values = compiled_values([late(length) for length in lengths], STEPS)
    exact = np.arange(STEPS) // np.array(lengths)[:, None]
    wrong = {length for place, length in enumerate(lengths) if (values[place] != exact[place]).any()}
    # Those that change late alone: docs/explanation names 235, the steps of an epoch of the default run.
    assert wrong == {length for length in lengths if (compiled_alone(late(length)) != np.arange(STEPS) // length).any()}
    assert {41, 47, 55, 235} <= wrong


def test_other_operations_are_another_family_and_plain_python_is_in_none() -> None:
    def plain(count: Any) -> float:
        return 1.0 if int(count) < 3 else 0.5

    def looped(turns: int) -> Callable[[Any], Any]:
        return lambda count: jax.lax.fori_loop(0, turns, lambda _, value: value * 0.5, 1.0 + 0.0 * count)

    def shared(values: list[float]) -> Callable[[Any], Any]:
        array = np.array(values, np.float32)
        return lambda count: jnp.asarray(array)[count % len(values)]

    schedules = [
        late(3),
        plain,
        lambda count: count * 0.5,
        late(7),
        looped(2),
        looped(3),
        shared([1, 2]),
        shared([3, 4]),
    ]
    assert [family.places for family in families(schedules, np.int32)] == [[0, 3], [2], [4], [5], [6, 7]]
    values = compiled_values(schedules, 8)
    assert {place: row[:4].tolist() for place, row in values.items()} == {
        0: [0, 0, 0, 1],
        2: [0, 0.5, 1, 1.5],
        3: [0, 0, 0, 0],
        4: [0.25] * 4,
        5: [0.125] * 4,
        6: [1, 2, 1, 2],
        7: [3, 4, 3, 4],
    }
