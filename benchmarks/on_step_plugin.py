"""A plugin with an `on_step` hook, installed in a directory of its own for this process."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

_MODULE = '''
"""Stops a run whose loss is too high."""
from dataclasses import dataclass
from typing import Annotated

from lrtrain import Doc, PositiveFloat, StepInfo, Stop, hookimpl


@dataclass(frozen=True)
class LossLimit:
    """Stops a run whose loss is too high."""

    limit: Annotated[PositiveFloat, Doc("highest loss")] = 100.0

    @hookimpl
    def on_step(self, step: StepInfo) -> Stop | None:
        return Stop(f"loss {step.loss:.0f}") if step.loss > self.limit else None
'''


def installed(directory: Path) -> str:
    """Installs it as pip would, a module and a ``.dist-info``, and returns its name."""
    site = directory / "site"
    info = site / "benchmarks_loss_limit-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (site / "benchmarks_loss_limit.py").write_text(_MODULE, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: benchmarks-loss-limit\nVersion: 1.0\nSummary: -\n")
    (info / "entry_points.txt").write_text("[lrtrain.plugins]\nloss-limit = benchmarks_loss_limit:LossLimit\n")
    sys.path.append(str(site))
    importlib.invalidate_caches()
    return "loss-limit"
