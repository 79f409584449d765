"""A report reads each file of a run once, and evaluates the tuning once."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrtrain.comparison import protocol
from lrtrain.comparison.result import read_comparison
from lrtrain.report.runs_page import page_of_runs, runs_in
from lrtrain.report.write import write_results
from lrtrain.runs import reading
from tests.lab import ROOT

ARCHIVE = ROOT / "tests" / "fixtures" / "before.tar.xz"


@pytest.fixture
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the calls of what parses a file of a run, and of what builds the grids of a tuning."""
    counted: Counter[str] = Counter()

    def count(module: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(module, name)

        def counting(*arguments: Any) -> Any:
            counted[name] += 1
            return function(*arguments)

        monkeypatch.setattr(module, name, counting)

    for name in ("parse_head", "parse_epochs", "parse_steps"):
        count(reading, name)
    count(protocol, "Tuning")
    return counted


def test_a_report_of_a_comparison_parses_each_run_once(before: Path, calls: Counter[str]) -> None:
    """It parsed epochs twice and steps three times, and built all grids once for each schedule and use."""
    comparison = read_comparison(before / "comparison")
    calls.clear()
    write_results(comparison)
    measured = sum(outcome.measured for row in comparison.plan.rows for outcome in comparison.measured(row.label))
    assert measured > 1
    assert calls == {"parse_head": measured, "parse_epochs": measured, "parse_steps": measured, "Tuning": 1}


def test_a_page_of_runs_parses_each_run_once(before: Path, calls: Counter[str]) -> None:
    found = runs_in([before / "finished", before / "cut"])
    assert len(page_of_runs(found).charts) > 1
    assert calls == dict.fromkeys(("parse_head", "parse_epochs", "parse_steps"), 2)
