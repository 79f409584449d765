"""A comparison that is killed, or whose disk is full, ends with the same runs and the same evidence."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from lrtrain.comparison.store import new_store
from lrtrain.errors import RunDirError
from tests.faults.conftest import Tally
from tests.faults.lab import Lab, dice, full_only, how_many, kill
from tests.faults.test_refusals import fill, one_sentence, small_disk
from tests.lab import CLOCK, metrics, until, without

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


UNEQUAL = (*CLOCK, "about", "started")
# Saves at the end of every epoch: these are far too short for the usual pause.
EAGER = "import lrtrain.comparison.wave_file as wave_file\nwave_file.SECONDS_BETWEEN_SAVES = 0.0\n"


def command(lab: Lab, run: str) -> list[str]:
    if (lab.directory / run / "comparison.json").is_file():
        return ["compare", "--resume", "--run-dir", run, "--quiet"]
    effort = ["--lr-scales=1,2", "--tuning-seeds=1", "--seeds=3", "--holdout=12"]
    options = [f"--{name.replace('_', '-')}={value}" for name, value in lab.options(epochs=6, batch_size=4).items()]
    plugins = ["--plugin=constant(value=0.01)", "--plugin=sgdr(cycles=1, peak_value=0.02)"]
    return ["compare", *plugins, *effort, *options, f"--run-dir={run}", "--quiet"]


def complete(lab: Lab, run: str) -> None:
    code, said = lab.run(command(lab, run))
    assert code == 0, said


def assert_same(one: Path, other: Path) -> None:
    names = sorted(path.name for path in (one / "runs").iterdir())
    assert names == sorted(path.name for path in (other / "runs").iterdir())
    for name in names:
        left, right = one / "runs" / name, other / "runs" / name
        assert (left / "steps.csv").read_bytes() == (right / "steps.csv").read_bytes()
        assert metrics(left) == metrics(right)
        outcomes = [json.loads((path / "outcome.json").read_text(encoding="utf-8")) for path in (left, right)]
        assert without(outcomes[0], *UNEQUAL) == without(outcomes[1], *UNEQUAL)
    results = [json.loads((path / "results.json").read_text(encoding="utf-8")) for path in (one, other)]
    assert json.dumps(without(results[0], *UNEQUAL)) == json.dumps(without(results[1], *UNEQUAL))
    assert (other / "report.html").stat().st_size > 10_000


@full_only
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_a_comparison_killed_at_random_moments(lab: Lab, tally: Tally, number: signal.Signals) -> None:
    complete(lab, "whole")
    began = time.monotonic()
    complete(lab, "again")
    seconds, draw, kills, wanted = time.monotonic() - began, dice(), 0, how_many(1, 0.2)
    (lab.directory / "eager").mkdir()
    (lab.directory / "eager" / "sitecustomize.py").write_text(EAGER, encoding="utf-8")
    within = 0
    while kills < wanted:
        run, ends = f"torn-{kills}", list[list[str]]()
        with tally.expecting(f"{number.name}, of a comparison", ends.__len__):
            while kills + len(ends) < wanted:
                process = lab.start(command(lab, run), site="eager")
                moment = draw.uniform(0, seconds)
                # The runs take a fraction of the process's time: every second moment is one of theirs.
                if (kills + len(ends)) % 2:
                    until(process, (lab.directory / run / ".wave-0.npz").exists)
                    moment = draw.uniform(0, 0.1)
                killed, _, said = kill(process, number, moment)
                if not killed:
                    break
                ends.append(said)
                within += (lab.directory / run / ".wave-0.npz").exists()
                # Before its handlers are installed, the signal itself ends it.
                assert process.returncode < 0 or said[-1].startswith("Error: terminated; "), said
            complete(lab, run)
            assert_same(lab.directory / "whole", lab.directory / run)
        kills += len(ends)
    assert within or wanted < 10, "none of them has come within a wave that was saved"


@full_only
def test_the_disk_is_full_while_a_comparison_writes(lab: Lab, tally: Tally) -> None:
    complete(lab, "whole")
    draw, refused = dice(), 0
    with small_disk(lab.directory / "disk", 20_000_000) as disk:
        # The report has its own megabytes of script: there is room for the runs, and none for it.
        for left in [200_000, *(draw.randrange(0, 100_000) for _ in range(how_many(1, 0.02)))]:
            ballast, run = fill(disk, left), f"disk/run-{left}"
            with tally.expecting("The disk is full, while a comparison writes its runs or its report"):
                code, said = lab.run(command(lab, run))
                assert code == 1, said
                assert "No space left" in one_sentence(said)
                refused += 1
                os.unlink(ballast)
                complete(lab, run)
                assert_same(lab.directory / "whole", lab.directory / run)
    assert refused


def test_what_a_killed_process_leaves_before_its_plan_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "c" / "runs").mkdir(parents=True)
    (tmp_path / "c" / ".comparison.json.123").touch()
    assert new_store(tmp_path / "c").path == tmp_path / "c"
    (tmp_path / "c" / "runs" / "mine").touch()
    with pytest.raises(RunDirError, match="is not empty"):
        new_store(tmp_path / "c")
