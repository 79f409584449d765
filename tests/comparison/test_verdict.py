"""The sentences of a verdict: none lets a reader conclude something false."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from lrtrain.comparison.evidence import Evidence, RowResult, leaders_of
from lrtrain.comparison.independent import compare_independent
from lrtrain.comparison.statistics import compare_pairs, summarise
from lrtrain.comparison.verdict import verdict
from lrtrain.workloads.headline import ACCURACY

RNG = np.random.default_rng(0)
GOOD, FAIR, POOR = (list(np.round(RNG.normal(mean, 0.001, 10), 4)) for mean in (0.92, 0.90, 0.88))


def evidence(results: dict[str, Sequence[float]], baseline: str | None = None, on_edge: str = "") -> Evidence:
    rows = tuple(
        RowResult(label, summarise(values), summarise([]), 1.0, (1.0, 1.0), label == on_edge, 3, None, 1.0, None)
        for label, values in results.items()
    )
    pairs = list(itertools.combinations(results, 2))
    if baseline:
        pairs = [(label, baseline) for label in results if label != baseline]
    differences = compare_pairs(results, pairs)
    enough = len(next(iter(results.values()))) >= 6
    return Evidence(baseline or "", rows, tuple(differences), leaders_of(ACCURACY, rows, differences), enough)


def test_pairs_that_were_not_tested_are_not_called_alike() -> None:
    """Both are better than the baseline; whether they differ, which they do, was not tested."""
    said = verdict(evidence({"constant": POOR, "linear": GOOD, "wsd": FAIR}, "constant"))
    assert said[0] == (
        "Nothing was found to be better than linear or wsd, not all of which were compared with one another: that "
        "does not make them equal."
    )
    assert said[1].startswith("linear is better than constant by 4.")
    assert not any("linear and wsd" in sentence or "wsd and linear" in sentence for sentence in said)


def test_the_one_that_is_better_is_named_with_those_that_it_is_better_than() -> None:
    said = verdict(evidence({"constant": POOR, "linear": GOOD, "wsd": FAIR}))
    assert said[0] == "linear is better than constant and wsd."
    said = verdict(evidence({"constant": POOR, "linear": GOOD}, "constant"))
    assert said[0] == "linear is better than constant."


def test_a_tie_has_its_interval_and_what_could_have_been_found() -> None:
    one, other = [0.9, 0.91, 0.92, 0.9, 0.91, 0.89, 0.9, 0.91], [0.91, 0.9, 0.91, 0.91, 0.9, 0.9, 0.91, 0.9]
    found = evidence({"a": one, "b": other}, "b")
    (pair,) = found.differences
    mean, low, high, least = (100 * value for value in (pair.mean, pair.low, pair.high, pair.detectable))
    assert verdict(found)[-1] == (
        f"a and b were not distinguished: a less b is {mean:+.2f} points (95% interval {low:+.2f} to {high:+.2f}, 8 "
        f"seeds); a difference of {least:.2f} is found in four of five such comparisons."
    )


def test_a_best_rate_at_the_edge_is_the_first_thing_that_is_said() -> None:
    said = verdict(evidence({"constant": POOR, "linear": GOOD}, "constant", on_edge="constant"))
    assert said[0] == (
        "The best learning rate of constant was the last that was tried, so its results may not be its best."
    )


def test_too_few_seeds_can_show_nothing() -> None:
    said = verdict(evidence({"a": [0.9, 0.91, 0.9], "b": [0.1, 0.11, 0.12]}, "b"))
    assert said[0] == (
        "With 3 seeds no difference can be found, whatever it is: the smallest p that they can give is 0.25. 6 seeds "
        "could."
    )
    assert "no difference could have been found" in said[-1]


def test_many_ties_are_one_sentence() -> None:
    results = {f"s{index}": list(RNG.normal(0.9, 0.001, 8)) for index in range(12)}
    said = verdict(evidence(results, "s0"))
    assert sum("ot distinguished" in sentence for sentence in said) == 1


def test_runs_without_a_result_are_named() -> None:
    found = evidence({"a": GOOD, "b": FAIR}, "b")
    row = dataclasses.replace(found.rows[0], score=summarise(GOOD, 2, 1))
    said = verdict(dataclasses.replace(found, rows=(row, found.rows[1])))
    assert "2 of the 10 runs of a diverged or failed: each counts as the result of a guess." in said
    assert "1 of the 10 runs of a ended no better than a guess, the same answer for all examples." in said


def test_one_none_of_whose_runs_has_a_result_is_named_without_an_amount() -> None:
    found = evidence({"a": GOOD, "b": [0.1] * 10}, "a")
    row = dataclasses.replace(found.rows[1], score=summarise([np.nan] * 10), problem="diverged: the loss is inf")
    said = verdict(dataclasses.replace(found, rows=(found.rows[0], row)))
    assert "All 10 runs of b diverged or failed: each counts as the result of a guess." in said
    assert "a is better than b, none of whose runs has a result." in said
    assert not any("points" in sentence for sentence in said)


def test_a_reference_without_a_result_is_the_reason() -> None:
    found = evidence({"a": GOOD, "b": FAIR}, "a")
    row = dataclasses.replace(found.rows[0], problem="failed: it raised")
    said = verdict(dataclasses.replace(found, rows=(row, found.rows[1]), differences=(), leaders=()))
    assert said == ["No pair could be tested, because a, the reference, has no result."]


def test_an_error_of_tuning_that_is_not_known_is_said() -> None:
    found = evidence({"a": GOOD, "b": FAIR}, "b")
    row = dataclasses.replace(found.rows[0], lost=float("nan"))
    said = verdict(dataclasses.replace(found, rows=(row, found.rows[1])))
    assert (
        "Too few learning rates were tried to know how near a is to the best one: a difference may be that of the "
        "learning rates." in said
    )


def test_results_without_a_spread_or_without_a_second_seed_say_no_numbers_that_are_none() -> None:
    for results in ({"a": [0.9] * 8, "b": [0.9] * 8}, {"a": [0.9], "b": [0.8]}, {"a": [0.9, 0.8], "b": [0.8, 0.7]}):
        said = " ".join(verdict(evidence(results, "b")))
        assert "nan" not in said
        assert "difference of 0.00 is found" not in said
    assert "no difference could have been found" in said


def test_runs_without_common_seeds_are_called_runs() -> None:
    results = {"a": [0.9, 0.91, 0.92], "b": [0.9, 0.92, 0.91, 0.9]}
    rows = tuple(
        RowResult(
            label,
            summarise(values),
            summarise([]),
            1.0,
            (),
            on_edge=False,
            trials=0,
            rates=None,
            seconds=1.0,
            problem=None,
        )
        for label, values in results.items()
    )
    pairs = compare_independent(results, [("a", "b")], 1, [0.0])
    said = verdict(Evidence("", rows, tuple(pairs), ("a", "b"), enough=True, paired=False))
    assert said[-1].endswith("3 runs of each or more).")
    assert "seed" not in " ".join(said)
