"""The number of runs side by side is measured once and kept; what does not fit in the memory is passed over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from lrtrain.comparison import group_size
from lrtrain.comparison.conduct import compare_plan
from lrtrain.comparison.group_size import group_sizes, halved_until_it_fits, run_seconds
from lrtrain.comparison.plan import Plan
from lrtrain.comparison.reporter import Forecast, NullReporter
from lrtrain.engine import population as engine_population
from lrtrain.engine.population import Population
from lrtrain.training import kept_choice
from tests.comparison.test_conduct import as_is
from tests.engine.test_population import CHUNK, make

FULL = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 byte.")
SPECS = [f"constant(value={value})" for value in (0.01, 0.02, 0.03, 0.04, 0.05)]


@pytest.mark.parametrize(
    ("most", "paired", "sizes"),
    [
        (2, 2, [1, 2]),
        (14, 14, [1, 3, 14]),
        (30, 15, [1, 3, 15, 30]),
        (60, 3, [1, 3, 12, 60]),
        (8, 15, [1, 2, 8]),
        (20, 70, [1, 5, 20]),
    ],
)
def test_few_sizes_are_measured(most: int, paired: int, sizes: list[int]) -> None:
    assert group_sizes(most, paired) == sizes


class Noting(NullReporter):
    """Keeps what a user is told, and the number of trials at once."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.width = 0

    def noted(self, text: str) -> None:
        self.notes.append(text)

    def planned(self, plan: Plan, forecast: Forecast) -> None:
        self.width = forecast.width


Measured = Callable[[dict[int, float | RuntimeError]], list[tuple[int, bool]]]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Measured:
    """Returns a function that has each size take so much time or fail, and returns which were measured, and how."""
    monkeypatch.setattr(engine_population, "runs_that_fit", lambda device, needed: 8)
    monkeypatch.setattr(group_size, "FEWEST_STEPS", 10)
    monkeypatch.setattr(kept_choice, "cache_dir", lambda: tmp_path / "cache")

    def with_times(times: dict[int, float | RuntimeError]) -> list[tuple[int, bool]]:
        taken: list[tuple[int, bool]] = []

        def seconds(population: Population, examples: int, *, shared: bool) -> float:
            assert examples == 72
            taken.append((population.runs_per_device, shared))
            time = times[population.runs_per_device]
            if isinstance(time, RuntimeError):
                raise time
            return time

        monkeypatch.setattr(group_size, "run_seconds", seconds)
        return taken

    return with_times


def width_of(plan: Plan, directory: Path) -> tuple[int, list[str]]:
    reporter = Noting()
    outcomes = compare_plan(plan, directory=directory, reporter=reporter).outcomes
    assert [each.state for each in outcomes] == ["finished"] * len(plan.rows)
    return reporter.width, reporter.notes


@pytest.mark.parametrize(("times", "size"), [({1: 3.0, 5: 1.0}, 5), ({1: 1.0, 5: 1.1}, 1)])
def test_the_fastest_size_is_taken_and_kept(
    measured: Measured, tiny: Path, tmp_path: Path, times: dict[int, float | RuntimeError], size: int
) -> None:
    taken = measured(times)
    plan = as_is(tiny, *SPECS, devices=1)
    for name in ("first", "second"):
        assert width_of(plan, tmp_path / name) == (size, [])
    assert taken == [(1, False), (5, True)], "the choice is kept"
    width_of(as_is(tiny, *SPECS, devices=1, optimizer="adam"), tmp_path / "other")
    assert len(taken) == 4, "another optimizer is another step"


def test_what_does_not_fit_is_said_and_passed_over(measured: Measured, tiny: Path, tmp_path: Path) -> None:
    taken = measured({1: 3.0, 5: FULL})
    said = "5 runs side by side do not fit in the memory of a device: it trains 1 at once, or fewer"
    assert width_of(as_is(tiny, *SPECS, devices=1), tmp_path / "run") == (1, [said])
    assert len(taken) == 2


def test_another_failure_is_not_hidden(measured: Measured, tiny: Path, tmp_path: Path) -> None:
    measured({1: 3.0, 5: jax.errors.JaxRuntimeError("INTERNAL: a bug")})
    with pytest.raises(jax.errors.JaxRuntimeError, match="a bug"):
        compare_plan(as_is(tiny, *SPECS, devices=1), directory=tmp_path / "run")


def test_a_short_comparison_is_not_measured(
    measured: Measured, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = measured({})
    monkeypatch.setattr(group_size, "FEWEST_STEPS", 10**6)
    assert width_of(as_is(tiny, *SPECS, devices=1), tmp_path / "run") == (5, [])
    assert taken == []


def test_a_comparison_whose_group_is_too_large_trains_fewer_at_once(
    measured: Measured, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured({1: 3.0, 5: 1.0})
    plan = as_is(tiny, *SPECS, devices=1)
    width_of(plan, tmp_path / "before")
    # Another program has taken memory since.
    steps = Population.run_steps

    def full(self: Population, *arguments: Any, **options: Any) -> Any:
        if self.runs_per_device > 2:
            raise FULL
        return steps(self, *arguments, **options)

    monkeypatch.setattr(Population, "run_steps", full)
    said = "5 runs side by side do not fit in the memory of a device: it trains 2 at once, or fewer"
    assert width_of(plan, tmp_path / "after") == (2, [said])


def test_one_run_that_does_not_fit_is_an_error() -> None:
    def attempt(population: Any) -> None:
        raise FULL

    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        halved_until_it_fits(make(devices=1, runs_per_device=2), attempt, pytest.fail)


def test_the_time_of_a_step_of_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is read around each call, whose steps take three units each and the compilation a thousand."""
    population, now, calls = make(devices=1, runs_per_device=2), [0.0], [0]
    steps = Population.run_steps

    def counted(self: Population, state: Any, order: Any, weights: Any, rates: Any, **options: Any) -> Any:
        calls[0] += 1
        now[0] += 3e-3 * np.shape(rates)[1] + (1000 if calls[0] == 1 else 0)
        assert len(order) == (1 if options["shared"] else 2)
        assert np.shape(rates)[1] == (1 if calls[0] <= 2 else CHUNK)
        return steps(self, state, order, weights, rates, **options)

    monkeypatch.setattr(Population, "run_steps", counted)
    monkeypatch.setattr(group_size, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    for shared in (True, False):
        calls[0] = 0
        assert run_seconds(population, 100, shared=shared) == pytest.approx(1.5e-3)
