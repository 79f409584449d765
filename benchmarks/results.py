"""The page of results: when, where, with what command, the targets, the tables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.table import Table
from benchmarks.targets import Target


@dataclass(frozen=True)
class Results:
    """All results.

    Args:
      date: the day, as YYYY-MM-DD.
      command: the command that was run.
      machine: hardware and versions, by name.
      tables: in order.
      targets: in order.
      elsewhere: a sentence on figures that other pages have, or nothing.
    """

    date: str
    command: str
    machine: Mapping[str, str]
    tables: Sequence[Table]
    targets: Sequence[Target]
    elsewhere: str = ""

    def markdown(self) -> str:
        """Returns the page."""
        about = [f"- **{name}**: {value}" for name, value in {"date": self.date, **self.machine}.items()]
        parts = [
            "# Benchmark results",
            f"Written by `{self.command}`; what is measured and how stands above each table.",
            self.elsewhere,
            "\n".join(about),
            self._targets(),
            *(table.markdown().strip() for table in self.tables),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _targets(self) -> str:
        if not self.targets:
            return ""
        lines = ["| target | bound | measured | |", "|---|---:|---:|---|"]
        lines += [f"| {' | '.join(target.cells())} |" for target in self.targets]
        missed = sum(target.met is False for target in self.targets)
        met = sum(target.met is True for target in self.targets)
        said = f"{met} met, {missed} missed, {len(self.targets) - met - missed} not measured. Measured are medians."
        return "\n".join(["## Targets", "", said, "", *lines])


def write(path: Path, text: str) -> None:
    """Replaces a file completely or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
