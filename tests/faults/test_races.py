"""Processes started together, stopped and continued while they start: each result is that of one process, and kept."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.conftest import Tally
from tests.faults.lab import EPOCHS, STEPS_PER_EPOCH, Lab, dice, full_only, how_many
from tests.faults.test_comparisons import command as compare_command
from tests.faults.test_comparisons import complete as complete_comparison
from tests.lab import ended

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
_PLUGIN = "constant(value=0.002)"
PHASES = ("loading", "starting JAX", "compiling")


def arguments(lab: Lab, seed: int, *extra: str) -> list[str]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in lab.options(epochs=1, seed=seed).items()]
    return ["train", f"--plugin={_PLUGIN}", *options, *extra]


def seed_of(run: Path) -> int:
    return int(json.loads((run / "config.json").read_text(encoding="utf-8"))["train"]["seed"])


def assert_whole(run: Path, epochs: int = 1) -> None:
    """Checks that a run's files are those of one process, from its first step to its last."""
    steps = epochs * STEPS_PER_EPOCH
    lines = (run / "steps.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",", 1)[0] for line in lines] == ["step", *map(str, range(steps))]
    assert len((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == epochs
    progress = run / "checkpoints" / f"step_{steps}" / "progress" / "metadata"
    assert json.loads(progress.read_text(encoding="utf-8"))["seed"] == seed_of(run)


def one_ends_well(ends: Sequence[tuple[int, list[str]]], said: str) -> None:
    assert sorted(code for code, _ in ends) == [0, *[2] * (len(ends) - 1)], ends
    for code, lines in ends:
        assert code == 0 or said in lines[-1] or "another process is" in lines[-1], ends


def wait_for(process: subprocess.Popen[str], phase: str) -> None:
    """Reads what a process says until it says the name of a phase; one that has ended says nothing more."""
    assert process.stderr is not None
    while (line := process.stderr.readline()) and phase not in line:
        pass


def test_default_names(lab: Lab, tally: Tally) -> None:
    times = how_many(1, 0.05)
    with tally.expecting("Several runs begin in one second, with default names", lambda: times):
        for attempt in range(times):
            seeds = [3 * attempt + number for number in range(3)]
            ends = [ended(process) for process in [lab.start(arguments(lab, seed, "-q")) for seed in seeds]]
            assert [code for code, _ in ends] == [0, 0, 0], ends
            runs = sorted((lab.directory / "runs").iterdir())
            assert sorted(map(seed_of, runs)) == list(range(3 * attempt + 3))
            for run in runs:
                assert_whole(run)


def test_one_directory(lab: Lab, tally: Tally) -> None:
    times = how_many(1, 0.05)
    with tally.expecting("Several runs begin in one directory", lambda: times):
        for attempt in range(times):
            run = f"one-{attempt}"
            started = [lab.start(arguments(lab, seed, "-q", f"--run-dir={run}")) for seed in range(3)]
            one_ends_well([ended(process) for process in started], f"{run} is not empty")
            winner = next(seed for seed, process in enumerate(started) if process.returncode == 0)
            assert seed_of(lab.directory / run) == winner
            assert_whole(lab.directory / run)


@pytest.mark.parametrize("phase", ["starting JAX", *(pytest.param(each, marks=full_only) for each in ("loading",))])
def test_stopped_until_another_has_ended(lab: Lab, tally: Tally, phase: str) -> None:
    with tally.expecting("A run is stopped while it starts, until another has ended in its directory"):
        late = lab.start(arguments(lab, 1, "--run-dir=run"))
        wait_for(late, phase)
        late.send_signal(signal.SIGSTOP)
        try:
            code, said = lab.run(arguments(lab, 0, "-q", "--run-dir=run"))
            assert code == 0, said
            before = {path: path.read_bytes() for path in (lab.directory / "run").rglob("*") if path.is_file()}
        finally:
            late.send_signal(signal.SIGCONT)
        code, said = ended(late)
        assert code == 2, said
        assert "is not empty: give another --run-dir (--resume continues the run in it)" in said[-1]
        after = {path: path.read_bytes() for path in (lab.directory / "run").rglob("*") if path.is_file()}
        assert after == before
        code, said = lab.run(["train", "--resume", "--run-dir=run", "-q"])
        assert code == 0, said


@full_only
def test_two_resume_one_run_at_random_moments(lab: Lab, tally: Tally) -> None:
    lab.complete("whole")
    draw, times = dice(), how_many(1, 0.05)
    with tally.expecting("Two processes resume one run, one of them stopped for a while", lambda: times):
        for attempt in range(times):
            run = f"run-{attempt}"
            first = lab.start(lab.command(run))
            wait_for(first, draw.choice(PHASES))
            first.kill()
            first.communicate()
            pair = [lab.start(lab.command(run)) for _ in range(2)]
            wait_for(pair[0], draw.choice(PHASES))
            pair[0].send_signal(signal.SIGSTOP)
            try:
                pair[1].wait(draw.uniform(1, 6))
            except subprocess.TimeoutExpired:
                pass
            finally:
                pair[0].send_signal(signal.SIGCONT)
            codes = {ended(process)[0] for process in pair}
            assert codes <= {0, 2}, codes
            lab.complete(run)
            lab.assert_same("whole", run)
            assert_whole(lab.directory / run, EPOCHS)


def test_two_comparisons_in_one_directory(lab: Lab, tally: Tally) -> None:
    with tally.expecting("Two comparisons begin in one directory"):
        pair = [lab.start([*compare_command(lab, "c"), f"--seed={seed}"]) for seed in (0, 1)]
        one_ends_well([ended(process) for process in pair], "c is not empty")
        winner = next(seed for seed, process in enumerate(pair) if process.returncode == 0)
        stored = json.loads((lab.directory / "c" / "comparison.json").read_text(encoding="utf-8"))
        assert stored["train"]["seed"] == winner
        for run in (lab.directory / "c" / "runs").iterdir():
            config = json.loads((run / "config.json").read_text(encoding="utf-8"))
            assert config["comparison"]["split_seed"] == winner


def test_reports_of_one_comparison(lab: Lab, tally: Tally) -> None:
    """Whoever looks meanwhile finds whole files, the old ones or the new ones, which are the same."""
    complete_comparison(lab, "c")
    pictures = lab.directory / "c" / "pictures"
    drawn = {path: path.read_bytes() for path in pictures.iterdir()}
    times = how_many(1, 0.05)
    with tally.expecting("Several reports of one comparison are written at once", lambda: times):
        for _ in range(times):
            started = [lab.start(["report", "c"]) for _ in range(3)]
            while any(process.poll() is None for process in started):
                assert {path: path.read_bytes() for path in drawn} == drawn
                assert (lab.directory / "c" / "report.html").read_bytes().rstrip().endswith(b"</html>")
                json.loads((lab.directory / "c" / "results.json").read_bytes())
            assert [ended(process)[0] for process in started] == [0, 0, 0]
            assert {path: path.read_bytes() for path in pictures.iterdir()} == drawn
            pages = [lab.start(["report", "c", "--output=page.html"]) for _ in range(3)]
            one_ends_well([ended(process) for process in pages], "page.html is there already")
            (lab.directory / "page.html").unlink()


@full_only
def test_comparisons_with_default_names(lab: Lab, tally: Tally) -> None:
    with tally.expecting("Several comparisons begin in one second, with default names"):
        commands = [compare_command(lab, "c")[:-2] for _ in range(3)]
        started = [lab.start([*command, "--quiet", f"--seed={seed}"]) for seed, command in enumerate(commands)]
        ends = [ended(process) for process in started]
        assert [code for code, _ in ends] == [0, 0, 0], ends
        stores = sorted((lab.directory / "runs").iterdir())
        plans = [json.loads((store / "comparison.json").read_text(encoding="utf-8")) for store in stores]
        assert sorted(plan["train"]["seed"] for plan in plans) == [0, 1, 2]
        assert all((store / "report.html").is_file() for store in stores)


@full_only
def test_an_empty_cache(lab: Lab, tally: Tally) -> None:
    with tally.expecting("Several runs begin with an empty cache"):
        cache = {"LRTRAIN_CACHE_DIR": str(lab.directory / "cache")}
        runs = [arguments(lab, seed, "-q", f"--run-dir=run-{seed}") for seed in range(3)]
        ends = [ended(process) for process in [lab.start(run, env=cache) for run in runs]]
        assert [code for code, _ in ends] == [0, 0, 0], ends
        for seed in range(3):
            assert_whole(lab.directory / f"run-{seed}")
