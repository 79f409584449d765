"""The laboratory, and the table of what has been tried and lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.lab import HOOKS, Lab

_TRIED: dict[str, list[int]] = {}


class Tally:
    """Counts faults, and what has been lost by them."""

    def tried(self, fault: str, times: int = 1) -> None:
        """Notes that a fault has done no harm."""
        self._add(fault, times, 0)

    @contextmanager
    def expecting(self, fault: str, times: Callable[[], int] = lambda: 1) -> Iterator[None]:
        """Notes a fault, as lost if what comes after it is not as it should be."""
        try:
            yield
        except Exception:
            self._add(fault, max(1, times()), 1)
            raise
        self._add(fault, times(), 0)

    def _add(self, fault: str, tried: int, lost: int) -> None:
        row = _TRIED.setdefault(fault, [0, 0])
        row[0] += tried
        row[1] += lost


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def hooks(install_plugin: Callable[..., str], lab: Lab) -> str:
    """Installs a plugin whose hooks scale the learning rate, and has the laboratory use it."""
    lab.plugins = (install_plugin("scales", HOOKS),)
    return lab.plugins[0]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes the table to the file that LRTRAIN_FAULTS_TABLE names."""
    target = os.environ.get("LRTRAIN_FAULTS_TABLE")
    if target and _TRIED:
        rows = [f"| {fault} | {tried} | {lost} |" for fault, (tried, lost) in _TRIED.items() if tried]
        total = [sum(column) for column in zip(*_TRIED.values(), strict=True)]
        lines = ["| fault | tried | lost |", "|---|---:|---:|", *rows, f"| **all** | **{total[0]}** | **{total[1]}** |"]
        Path(target).write_text("\n".join(lines) + "\n", encoding="utf-8")
