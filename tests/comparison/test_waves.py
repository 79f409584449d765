"""Trials of one seed are trained side by side, with the results that they have one on each device."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrtrain.comparison import wave_file
from lrtrain.comparison.conduct import compare_plan
from lrtrain.comparison.plan import Effort, Plan
from lrtrain.comparison.result import Comparison
from lrtrain.comparison.trial import Trial
from lrtrain.comparison.waves import in_waves
from lrtrain.engine import population
from lrtrain.engine.population import Population
from tests.comparison.test_conduct import fair
from tests.comparison.test_wave_file import CutOff, files


def trials(*seeds: int) -> list[Trial]:
    return [Trial("measure", f"row {number}", 1.0, seed) for number, seed in enumerate(seeds)]


def numbers(waves: list[list[Trial]]) -> list[list[int]]:
    return [[int(trial.label.split()[1]) for trial in wave] for wave in waves]


@pytest.mark.parametrize(
    ("seeds", "devices", "size", "waves"),
    [
        ((0, 1, 0, 1), 2, 1, [[0, 1], [2, 3]]),
        ((0, 1, 0, 1), 1, 2, [[0, 2], [1, 3]]),
        ((0, 1, 0, 1), 2, 2, [[0, 2, 1, 3]]),
        ((0, 0, 0, 1, 1, 1), 1, 2, [[0, 1], [3, 4], [2, 5]]),
        ((0, 0, 0), 1, 4, [[0, 1, 2]]),
        ((0, 0, 1, 1), 1, 4, [[0, 1, 2, 3]]),
        ((), 1, 4, []),
    ],
)
def test_trials_of_one_seed_are_on_one_device(
    seeds: tuple[int, ...], devices: int, size: int, waves: list[list[int]]
) -> None:
    assert numbers(in_waves(trials(*seeds), devices, size)) == waves


@pytest.fixture
def plan(tiny: Path) -> Plan:
    plan = fair(tiny, "constant(value=0.05)", "linear(init_value=0.1)")
    return dataclasses.replace(plan, effort=Effort((0.5, 1.0, 2.0), 2, 2, 2))


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Has a device train four runs side by side, as if it were an accelerator; collects which calls share batches."""
    found: list[bool] = []
    steps = Population.run_steps

    def noted(self: Population, *arguments: Any, shared: bool) -> Any:
        found.append(shared)
        return steps(self, *arguments, shared=shared)

    monkeypatch.setattr(population, "runs_that_fit", lambda device, needed: 4)
    monkeypatch.setattr(Population, "run_steps", noted)
    return found


def assert_same_results(one: Comparison, other: Comparison) -> None:
    assert [outcome.trial for outcome in one.outcomes] == [outcome.trial for outcome in other.outcomes]
    for mine, its in zip(one.outcomes, other.outcomes, strict=True):
        assert (mine.state, mine.steps, mine.rates) == (its.state, its.steps, its.rates)
        assert mine.validation_loss == pytest.approx(its.validation_loss, rel=1e-4)
        assert (mine.test_loss is None) == (its.test_loss is None)
        assert mine.value("loss") == pytest.approx(its.value("loss"), rel=1e-4)
    assert [row.label for row in one.plan.rows] == [row.label for row in other.plan.rows]
    mine, its = one.evidence, other.evidence
    assert [each.verdict for each in mine.differences] == [each.verdict for each in its.differences]
    names = [sorted(path.name for path in (each.directory / "runs").iterdir()) for each in (one, other)]
    assert names[0] == names[1]
    for name in names[0]:
        logs = [
            np.loadtxt(each.directory / "runs" / name / "steps.csv", delimiter=",", skiprows=1) for each in (one, other)
        ]
        np.testing.assert_array_equal(logs[0][:, :3], logs[1][:, :3])
        np.testing.assert_allclose(logs[0][:, 3], logs[1][:, 3], rtol=1e-4)


def test_side_by_side_is_as_one_on_each_device(plan: Plan, tmp_path: Path, shared: list[bool]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(population, "runs_that_fit", lambda device, needed: 1)
        one = compare_plan(plan, directory=tmp_path / "one")
    assert shared
    assert not any(shared)
    shared.clear()
    four = compare_plan(plan, directory=tmp_path / "four")
    assert {True, False} == set(shared), "some of the waves have one seed on each device, and some have not"
    assert_same_results(one, four)


def test_an_interrupted_wave_of_groups_continues(
    plan: Plan, tmp_path: Path, shared: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wave_file, "SECONDS_BETWEEN_SAVES", 0.0)
    whole = compare_plan(plan, directory=tmp_path / "whole")
    steps = plan.train.steps_per_epoch(52)
    with pytest.raises(KeyboardInterrupt):
        compare_plan(plan, directory=tmp_path / "torn", reporter=CutOff(steps + 1))
    saved = wave_file.WaveFile(tmp_path / "torn" / ".wave-0.npz").trials()
    assert [trial.seed for trial in saved] == [0, 0, 0, 0, 1, 1, 1, 1]
    again = compare_plan(None, directory=tmp_path / "torn", resume=True)
    assert files(again) == files(whole)
