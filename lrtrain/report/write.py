"""The files that show the result of a comparison."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lrtrain.comparison.store import Store
from lrtrain.files import write_whole
from lrtrain.report.comparison_page import page_of_comparison
from lrtrain.report.curves import measured_runs
from lrtrain.report.page.render import render
from lrtrain.report.pictures import write_pictures

if TYPE_CHECKING:
    from lrtrain.comparison.result import Comparison


def write_files(comparison: Comparison) -> Store:
    """Writes ``results.json``, ``pictures/`` and ``report.html`` into the directory of a comparison.

    Returns:
      The paths of its files.

    Raises:
      UsageError: plotly is not installed.
    """
    store, evidence = Store(comparison.directory), comparison.evidence
    write_whole(store.results, json.dumps({"about": dict(comparison.about), **evidence.to_json()}, indent=2) + "\n")
    runs = measured_runs(comparison)
    write_pictures(comparison, evidence, runs, store.pictures)
    write_whole(store.report, render(page_of_comparison(comparison, evidence, runs)))
    return store
