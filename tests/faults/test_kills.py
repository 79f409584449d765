"""A run that is killed again and again, at any moment, ends with the same bits as one that was not.

``uv run nox --session faults`` kills it a hundred times; the default set, twice.
"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.conftest import Tally
from tests.faults.lab import Lab, dice, full_only, how_many, kill, signal_name
from tests.lab import ended, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1


def measured(lab: Lab, run: str) -> tuple[float, float]:
    """Returns how long a run takes to its end, and from its first noted steps to its end."""
    process, began = lab.start(lab.command(run)), time.monotonic()
    assert until(process, lambda: size(lab.directory / run / "steps.csv") > 0)
    trains = time.monotonic()
    code, said = ended(process)
    assert code == 0, said
    return time.monotonic() - began, time.monotonic() - trains


def wait_for_steps(process: subprocess.Popen[str], steps: Path) -> None:
    """Waits until a process that has been started notes steps that no process before it has noted."""
    before = max(size(steps), 0)
    until(process, lambda: size(steps) > before)


def killed_again_and_again(lab: Lab, tally: Tally, number: int, kills: int, label: str = "") -> None:
    """Kills a run, and the process that continues it, and so on until it is complete; then the next run."""
    # The first one compiles, and takes longer than those that are going to be killed.
    lab.complete("first")
    draw, (seconds, training), name = dice(), measured(lab, "whole"), signal_name(number) + label
    lab.assert_same("first", "whole")
    counts = {True: 0, False: 0}
    runs = 0
    while sum(counts.values()) < kills:
        runs += 1
        run, here = f"torn-{runs}", {True: 0, False: 0}
        steps = lab.directory / run / "steps.csv"
        while sum(counts.values()) + sum(here.values()) < kills:
            before = size(steps)
            process = lab.start(lab.command(run))
            # A process starts for longer than it trains: every second moment is one of the training.
            if (sum(counts.values()) + sum(here.values())) % 2:
                wait_for_steps(process, steps)
                moment = draw.uniform(0, training)
            else:
                moment = draw.uniform(0, seconds)
            # A wrong end is a loss, too.
            with tally.expecting(f"{name} {PHASES[True]}", lambda: 0):
                killed, waited, said = kill(process, number, moment)
            if not killed:
                break
            if number == signal.SIGTERM and process.returncode == 143:
                assert_goes_on(said, run, lab)
                assert waited < 60
            here[size(steps) not in (before, -1)] += 1
        lab.complete(run)
        for trained, times in here.items():
            with tally.expecting(f"{name} {PHASES[trained]}", lambda times=times: times):  # type: ignore[misc]
                lab.assert_same("whole", run)
            counts[trained] += times


PHASES = {
    False: "while Python, JAX and the data are loaded, or the step is compiled",
    True: "while it trains, evaluates, saves, or ends",
}


def assert_goes_on(said: list[str], run: str, lab: Lab) -> None:
    go_on = f"lrtrain --resume --run-dir {run} continues the run"
    assert said[-1].startswith("Error: terminated; "), said
    if (lab.directory / run / "config.json").exists():
        assert go_on in said[-1] or "nothing" in said[-1], said
    else:
        assert "nothing has been" in said[-1], said


def test_sigkill_at_random_moments(lab: Lab, tally: Tally) -> None:
    killed_again_and_again(lab, tally, signal.SIGKILL, how_many(2))


def test_sigterm_at_random_moments(lab: Lab, tally: Tally) -> None:
    killed_again_and_again(lab, tally, signal.SIGTERM, how_many(1))


@full_only
def test_sigkill_with_hooks_that_scale_the_learning_rate(lab: Lab, hooks: str, tally: Tally) -> None:
    killed_again_and_again(lab, tally, signal.SIGKILL, how_many(1, 0.1), ", with hooks,")


def test_sigkill_while_a_checkpoint_is_written(lab: Lab, hooks: str, tally: Tally) -> None:
    lab.complete("whole")
    draw, torn = dice(), 0
    directory = lab.directory / "torn" / "checkpoints"

    def writing() -> set[str]:
        return {path.name for path in directory.glob("*tmp*")} if directory.is_dir() else set()

    with tally.expecting("SIGKILL while a checkpoint is written", lambda: torn):
        for _ in range(how_many(2, 0.1)):
            process = lab.start(lab.command("torn"))
            # The first ones pass, or the run would never come further.
            seen, passed = writing(), draw.randint(1, 3)
            for _ in range(passed + 1):
                until(process, lambda seen=seen: bool(writing() - seen))  # type: ignore[misc]
                seen |= writing()
            time.sleep(draw.uniform(0, 0.02))
            process.kill()
            ended(process)
            torn += bool(writing())
        lab.complete("torn")
        lab.assert_same("whole", "torn")
        assert not writing(), "what was torn is cleared away"
    assert torn
