"""The sign-flip test of many pairs, against its definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from lrtrain.comparison.sign_flips import fewest_seeds, smallest_p, step_down


def student(differences: np.ndarray) -> np.ndarray:
    """Returns Student's t of each pair; infinite where all differences are the same."""
    spread = differences.std(axis=1, ddof=1)
    mean = differences.mean(axis=1)
    flat = spread < 1e-12
    t = mean / np.where(flat, 1.0, spread) * np.sqrt(differences.shape[1])
    return np.abs(np.where(flat, np.where(np.abs(mean) < 1e-12, 0.0, np.inf), t))


def by_definition(differences: np.ndarray) -> list[float]:
    """Enumerates every choice of signs, with Student's t, and takes the pairs out one by one."""
    seeds = differences.shape[1]
    observed = student(differences)
    flipped = np.array([student(differences * signs) for signs in itertools.product((1, -1), repeat=seeds)])
    left, p, highest = list(np.argsort(-observed)), {}, 0.0
    while left:
        # Rounding: t of equal choices of signs differs in its last digits.
        highest = max(highest, float(np.mean(flipped[:, left].max(axis=1) >= observed[left[0]] * (1 - 1e-9))))
        p[left.pop(0)] = highest
    return [p[pair] for pair in range(len(observed))]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("pairs", "seeds"), [(1, 5), (2, 8), (4, 9), (6, 7)])
def test_it_is_the_step_down_maximum_of_students_t(pairs: int, seeds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Whole images, as accuracies are: many choices of signs give the same sum.
    differences = rng.normal(rng.normal(0, 8, (pairs, 1)), 10, (pairs, seeds)).round() / 10_000
    np.testing.assert_allclose(step_down(differences), by_definition(differences), rtol=0, atol=1e-12)


@pytest.mark.parametrize("values", [[1, 2, 3, 4, 5, 6], [1, -2, 3, 5, 8, -1], [5, 5, 5, 5, 5, -5], [0.3, -0.1, 0.2]])
def test_one_pair_is_the_permutation_test_of_scipy(values: list[float]) -> None:
    expected = stats.permutation_test((np.array(values),), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert step_down(np.array([values]))[0] == pytest.approx(expected.pvalue)


def test_seventeen_choices_of_signs_in_a_tie_are_not_missed() -> None:
    """With 8 seeds, whole images in tens of thousands: rounding once made p 0.3125 where it is 0.34375."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        images = rng.integers(-20, 21, 8)
        choices = itertools.product((1, -1), repeat=8)
        exact = np.mean([abs((images * signs).sum()) >= abs(images.sum()) for signs in choices])
        assert step_down(images[None] / 10_000)[0] == pytest.approx(exact if images.any() else 1.0)


def test_many_pairs_cost_no_smallest_p() -> None:
    """A difference that every seed shows is found among 435 pairs, with few seeds and with many (`sampled`)."""
    rng = np.random.default_rng(1)
    for seeds in (8, 30):
        differences = rng.normal(0, 1, (435, seeds))
        differences[7] = 100 + rng.normal(0, 0.01, seeds)
        assert step_down(differences)[7] == pytest.approx(max(smallest_p(seeds), 2.0**-14))


def test_sampled_signs_agree_with_all_of_them() -> None:
    rng = np.random.default_rng(2)
    differences = rng.normal(0.25, 1, (3, 15))
    exact = by_definition(differences[:, :13])
    assert step_down(differences[:, :13]) == pytest.approx(exact)
    sampled = step_down(differences)
    full = by_definition_of_sums(differences)
    np.testing.assert_allclose(sampled, full, atol=4 * np.sqrt(0.25 / 2**14))


def by_definition_of_sums(differences: np.ndarray) -> np.ndarray:
    """Returns the p of each pair from all 2^14 choices of signs of 15 seeds, the first of which is +1."""
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=differences.shape[1] - 1)))
    signs = np.hstack([np.ones((len(signs), 1)), signs])
    unit = differences / np.sqrt(np.square(differences).sum(axis=1, keepdims=True))
    flipped, observed = np.abs(signs @ unit.T), np.abs(unit.sum(axis=1))
    order = np.argsort(-observed)
    p = np.empty(len(observed))
    for place in range(len(order)):
        p[order[place]] = np.mean(flipped[:, order[place:]].max(axis=1) >= observed[order[place]] - 1e-9)
    p[order] = np.maximum.accumulate(p[order])
    return p


def test_equal_results_and_nothing_at_all() -> None:
    assert step_down(np.zeros((2, 6))) == pytest.approx([1, 1])
    assert step_down(np.zeros((0, 6))).shape == (0,)
    assert step_down(np.zeros((3, 0))) == pytest.approx([1, 1, 1])
    assert step_down(np.full((1, 6), 0.25))[0] == smallest_p(6)


def test_what_the_seeds_can_show() -> None:
    assert smallest_p(10) == pytest.approx(2 / 2**10)
    assert [fewest_seeds(level) for level in (0.05, 0.025, 0.0125)] == [6, 7, 8]
