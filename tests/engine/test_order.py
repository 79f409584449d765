from __future__ import annotations

import numpy as np
import pytest

from lrtrain.engine.order import epoch_order


def test_every_example_once_and_the_rest_weightless() -> None:
    order, weights = epoch_order(0, 0, 1000, 96, shuffle=True)
    assert order.shape == weights.shape == (11, 96)
    assert (order.dtype, weights.dtype) == (np.int32, np.float32)
    assert sorted(order[weights == 1]) == list(range(1000))
    assert weights.sum() == 1000
    assert weights[:-1].all()
    assert weights[-1].tolist() == [1] * 40 + [0] * 56
    assert order[weights == 0].tolist() == order[0, :56].tolist()


def test_order_of_the_data_without_shuffle() -> None:
    order, weights = epoch_order(3, 7, 10, 4, shuffle=False)
    assert order.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]
    assert weights.tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0]]


def test_full_batches_have_no_padding() -> None:
    assert epoch_order(0, 0, 512, 256, shuffle=True)[1].all()


def test_a_pure_function_of_seed_and_epoch() -> None:
    first, again = (epoch_order(5, 2, 100, 10, shuffle=True)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    for seed, epoch in ((5, 3), (6, 2), (2, 5)):
        assert (epoch_order(seed, epoch, 100, 10, shuffle=True)[0] != first).any()


@pytest.mark.parametrize(
    ("seed", "epoch", "expected"),
    [
        (0, 0, [0, 8, 9, 3, 7, 5, 1, 2, 6, 4]),
        (0, 1, [3, 7, 4, 2, 9, 8, 1, 6, 5, 0]),
        (2**40, 9, [5, 0, 3, 1, 2, 6, 7, 8, 4, 9]),
    ],
)
def test_the_same_in_every_version_of_numpy(seed: int, epoch: int, expected: list[int]) -> None:
    assert epoch_order(seed, epoch, 10, 10, shuffle=True)[0][0].tolist() == expected
