"""Runs, comparisons and caches of the version before the package had rooms (commit ed6c46b): they go on as they did.

`fixtures/before.tar.xz` was made by that version, on one machine with jaxlib 0.10.1: a finished run and one that was
killed in its fourth epoch, both with a plateau rule; a finished comparison without its report, and one that was killed
while it tuned; the decoded arrays of the data set; and, under `expected`, what that version made of those that were
killed.
"""

from __future__ import annotations

import csv
import json
import tarfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import lrtrain
from lrtrain.cache import cache_dir, processor_id
from lrtrain.comparison.result import read_comparison
from lrtrain.data import arrays, disk, load_dataset, reader
from lrtrain.runs import find_runs, read_run
from lrtrain.runs.logs import line_of, parse_epochs
from lrtrain.runs.run_config import RunConfig
from tests.lab import ROOT, cli, done, without

ARCHIVE = ROOT / "tests" / "fixtures" / "before.tar.xz"
UNEQUAL = ("seconds", "about")
# What the statistics of that version were other than: intervals, the correction, margins and words.
JUDGED = ("low", "high", "p_adjusted", "verdict", "basin", "collapsed", "margin", "detectable", "undecided", "lost")
# Where a program has the same instructions, it gives the same bits.
SAME_MACHINE = (processor_id(), version("jaxlib")) == ("0942b6848efe5a3c", "0.10.1")


@pytest.fixture
def before(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tiny))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spell_out(plan: Path) -> None:
    """Adds to a plan the options of sgdr that it has left out, at the defaults that they had in that version."""
    values = json.loads(plan.read_text(encoding="utf-8"))
    (sgdr,) = (row for row in values["schedules"] if row["plugin"] == "sgdr")
    sgdr |= {"init_value": [3e-4, 2e-4, 1e-4], "end_value": [2e-4, 1e-4, 5e-5], "warmup_steps": None}
    plan.write_text(json.dumps(values), encoding="utf-8")


def rows(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text(encoding="utf-8").splitlines()))


def test_they_are_listed_shown_and_compared(before: Path) -> None:
    states = {run.path.name: run.state for run in find_runs(before) if run.path.parent == before}
    assert states == {"finished": "finished", "cut": "interrupted", "expected": "damaged"}
    assert all(run.state == "finished" for run in find_runs(before / "comparison"))
    run = read_run(before / "finished")
    assert [epoch.step for epoch in run.epochs] == [36, 72, 108, 144]
    shown = done(cli("runs", "show", "finished", "--dir", before))
    assert "sgdr" in shown and "reduce-on-plateau" in shown  # noqa: PT018  # one fact
    assert "finished" in done(cli("runs", "compare", "finished", "cut", "--dir", before))


def test_the_lines_of_their_epochs_are_written_as_they_were(before: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(before.rglob("metrics.jsonl"))]
    epochs = [list(parse_epochs(text)) for text in texts]
    assert ["".join(f"{json.dumps(line_of(epoch))}\n" for epoch in each) for each in epochs] == texts
    assert {epoch.measured_on for each in epochs for epoch in each} == {"test", "validation"}


def test_a_run_goes_on(before: Path) -> None:
    expected = rows(before / "expected" / "steps.csv")
    kept = (before / "cut" / "steps.csv").read_text(encoding="utf-8").splitlines()[:91]
    result = lrtrain.train(run_dir=before / "cut", resume=True)
    assert result.steps == 180
    text = (before / "cut" / "steps.csv").read_text(encoding="utf-8")
    assert text.splitlines()[:91] == kept
    if SAME_MACHINE:
        assert text == (before / "expected" / "steps.csv").read_text(encoding="utf-8")
    found = rows(before / "cut" / "steps.csv")
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    losses = [np.array([float(row[3]) for row in table[1:]]) for table in (found, expected)]
    np.testing.assert_allclose(*losses, rtol=1e-3)


def test_a_finished_run_is_trained_for_longer(before: Path) -> None:
    result = lrtrain.train(run_dir=before / "finished", resume=True, epochs=5, on_schedule_change="keep")
    assert result.steps == 180
    assert read_run(before / "finished").state == "finished"


def test_a_comparison_is_reported(before: Path) -> None:
    stored = json.loads((before / "comparison" / "results.json").read_text(encoding="utf-8"))
    assert cli("report", "comparison").exit_code == 0
    again = json.loads((before / "comparison" / "results.json").read_text(encoding="utf-8"))
    assert without(again, *UNEQUAL, *JUDGED) == without(stored, *UNEQUAL, *JUDGED)
    assert (before / "comparison" / "report.html").stat().st_size > 10_000


def test_a_comparison_whose_plan_has_no_folder_is_read(before: Path) -> None:
    path = before / "comparison" / "comparison.json"
    whole = read_comparison("comparison")
    values = json.loads(path.read_text(encoding="utf-8"))
    values.pop("folder")
    path.write_text(json.dumps(values), encoding="utf-8")
    found = read_comparison("comparison")
    assert found.outcomes == whole.outcomes
    assert found.plan.folder == Path.cwd()


def test_a_run_that_lacks_a_field_gains_none(before: Path) -> None:
    values = json.loads((before / "cut" / "config.json").read_text(encoding="utf-8"))
    assert RunConfig.from_json(values).to_json() == values
    values.pop("processes")
    assert RunConfig.from_json(values).to_json() == values


def test_a_comparison_is_refused_whose_plan_has_left_out_what_is_another_default_now(before: Path) -> None:
    result = cli("compare", "--resume", "--quiet", "--run-dir", "comparison-cut")
    assert result.exit_code == 2
    assert "the learning rates of 'sgdr' are no longer those of the comparison" in result.stderr


def test_a_comparison_goes_on(before: Path) -> None:
    saved = before / "comparison-cut" / ".wave-0.npz"
    assert saved.is_file()
    spell_out(before / "comparison-cut" / "comparison.json")
    assert cli("compare", "--resume", "--quiet", "--run-dir", "comparison-cut").exit_code == 0
    assert not saved.exists()
    expected = json.loads((before / "expected" / "results.json").read_text(encoding="utf-8"))
    found = json.loads((before / "comparison-cut" / "results.json").read_text(encoding="utf-8"))
    if SAME_MACHINE:
        assert without(found, *UNEQUAL, *JUDGED) == without(expected, *UNEQUAL, *JUDGED)
    assert {row["label"] for row in found["schedules"]} == {"constant", "sgdr"}
    assert read_comparison("comparison-cut").evidence.leaders


def test_the_cache_is_used(before: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest names where the data was and when it was written, which is elsewhere here."""
    directory = tiny / "tiny" / "1.0.0"
    (kept,) = (before / "cache" / "arrays").glob("tiny-*")
    manifest = json.loads((kept / "manifest.json").read_text(encoding="utf-8"))
    manifest.update(key=str(directory), source=disk.fingerprint(directory))
    (kept / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", str(before / "cache"))
    kept.rename(arrays._folder("tiny", str(directory)))
    monkeypatch.setattr(reader, "read", lambda directory: pytest.fail("the records are read again"))
    assert cache_dir() == before / "cache"
    assert len(load_dataset("tiny").train) == 72


def test_what_a_run_trained_is_loaded_and_evaluated(before: Path) -> None:
    run = read_run(before / "finished")
    last = lrtrain.load(before / "finished", best=False)
    assert (last.step, last.epoch) == (144, run.last)
    assert last.evaluate() == pytest.approx(run.epochs[-1].means, abs=1e-6)
    best = max(run.epochs, key=lambda epoch: epoch.accuracy)
    assert lrtrain.load(before / "finished").step == best.step
    assert "Best checkpoint" in done(cli("runs", "show", "finished", "--dir", before))
    assert f"{best.accuracy:.4f}" in done(cli("evaluate", "finished", "--dir", before))
