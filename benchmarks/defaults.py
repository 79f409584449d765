"""Every schedule's defaults on every workload: ``python -m benchmarks.defaults [WORKLOAD ...]`` trains, writes a page.

The results are kept in ``benchmarks/defaults.json`` as soon as a workload is done, so it can be interrupted; a workload
that is named is trained again. The page is ``docs/reference/defaults.md``.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.options import ROOT

RESULTS = ROOT / "benchmarks" / "defaults.json"
PAGE = ROOT / "docs" / "reference" / "defaults.md"
# Those that take more than some minutes are shortened: what differs from the workload's own defaults.
WORKLOADS: dict[str, dict[str, Any]] = {
    "linear-regression": {},
    "digits": {},
    "mnist1d": {},
    "autoencoder": {"epochs": 2},
    "fashion-mnist-cnn": {"epochs": 2},
    "char-lm": {"epochs": 1, "train_size": 5312},
    "fashion-mnist-resnet": {"epochs": 1},
}
UNTRAINED = "constant(value=0)"
_HEAD = """# Every schedule's defaults on every workload

Learning rates that are defaults of a schedule are multiplied to suit the workload ([how](workloads.md)), so that a schedule which is named and nothing else trains sensibly wherever it is used. This table is the test of that: one run of each schedule on each workload, with the defaults of both and seed 0.

It does not say which schedule is better: nothing is tuned and there is one seed, see [Compare schedules](../how-to/comparing.md).

"""  # noqa: E501  # a paragraph is one line


def main(names: Sequence[str]) -> None:
    """Trains what is named or not there, and writes the page."""
    for unknown in set(names) - set(WORKLOADS):
        sys.exit(f"{unknown} is no workload of the table: {', '.join(WORKLOADS)}")
    done = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for name, shortened in WORKLOADS.items():
        if name in names or done.get(name, {}).get("shortened") != shortened:
            print(f"{name} ...", file=sys.stderr, flush=True)
            done[name] = results(name, shortened)
            RESULTS.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(done), encoding="utf-8")
    print(f"written to {PAGE.relative_to(ROOT)}", file=sys.stderr)


def schedules() -> list[str]:
    """Returns the names of the schedules that ship."""
    from lrtrain.plugins.discovery import find_plugins
    from lrtrain.plugins.loading import hooks_of, load_class

    return [entry.name for entry in find_plugins() if "build_schedule" in hooks_of(load_class(entry))]


def results(workload: str, shortened: Mapping[str, Any]) -> dict[str, Any]:
    """Trains every schedule on a workload; returns the headline of each on the test set, None where it diverged."""
    from lrtrain.comparison.conduct import compare_plan
    from lrtrain.comparison.plan import Plan
    from lrtrain.comparison.rows import labelled
    from lrtrain.training.configure import configured

    config, chosen = configured({"workload": workload, **shortened})
    plan = Plan(labelled([*schedules(), UNTRAINED]), config, "as-is", holdout=0, chosen=chosen)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="lrtrain-defaults-") as directory:
        comparison = compare_plan(plan, directory=Path(directory) / "all")
    headline = comparison.headline
    values = {row.label: comparison.measured(row.label)[0].value(headline.name) for row in plan.rows}
    return {
        "shortened": dict(shortened),
        "epochs": config.epochs,
        "headline": headline.name,
        "mode": headline.mode,
        "minutes": round((time.perf_counter() - began) / 60, 1),
        "results": {label: value if math.isfinite(value) else None for label, value in values.items()},
    }


def page(done: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the text of the page."""
    there = [name for name in WORKLOADS if name in done]
    labels = list(done[there[0]]["results"])
    lines = [_row(["schedule", *there]), _row(["---", *["---:"] * len(there)])]
    lines += [_row(["", *(_measure(done[name]) for name in there)])]
    for label in labels:
        title = "untrained" if label == UNTRAINED else f"`{label}`"
        lines.append(_row([title, *(_cell(done[name]["results"][label]) for name in there)]))
    shortened = [f"`{name}` {_words(done[name]['shortened'])}" for name in there if done[name]["shortened"]]
    minutes = sum(done[name]["minutes"] for name in there)
    tail = (
        f"\nThe last line is the network before it is trained. Shorter than by default: {'; '.join(shortened)}. "
        f"`python -m benchmarks.defaults` trains all of it, {minutes:.0f} minutes on two cores, and writes this page.\n"
    )
    return _HEAD + "\n".join(lines) + "\n" + tail


def _measure(done: Mapping[str, Any]) -> str:
    better = "higher" if done["mode"] == "max" else "lower"
    return f"{done['headline'].replace('_', ' ')}, {better} is better"


def _words(shortened: Mapping[str, Any]) -> str:
    return " and ".join(f"{name.replace('_', ' ')} {value}" for name, value in shortened.items())


def _cell(value: float | None) -> str:
    return "diverged" if value is None else f"{value:.3g}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main(sys.argv[1:])
