"""What the system refuses (room, rights, memory): one sentence, and --resume goes on once it is mended."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import Tally
from tests.faults.lab import Lab, dice, full_only, how_many
from tests.lab import ended, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
_BLOCK = 4096


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[Path]:
    """Mounts a file system in memory; skips where this process may not."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if sys.platform != "linux" or shutil.which("mount") is None:
        pytest.skip("a small file system in memory is made with mount on Linux")
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"this user may mount no file system: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=False)


def fill(disk: Path, left: int) -> Path:
    """Fills a disk up to so many bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        free = os.statvfs(disk).f_bavail * _BLOCK
        file.write(b"\0" * max(0, free - left))
    return ballast


def one_sentence(said: list[str]) -> str:
    errors = [line for line in said if line.startswith("Error: ")]
    assert len(errors) == 1, said
    return errors[0]


def test_disk_full(lab: Lab, hooks: str, tally: Tally) -> None:
    lab.complete("whole")
    draw = dice()
    with small_disk(lab.directory / "disk", 20_000_000) as disk:
        refused = 0
        for attempt in range(how_many(1, 0.1)):
            ballast, run = fill(disk, draw.randrange(0, 400_000)), f"disk/run-{attempt}"
            with tally.expecting("The disk is full"):
                code, said = lab.run(lab.command(run))
                assert code in (0, 1), said
                if code:
                    refused += 1
                    assert "No space left" in one_sentence(said), said
                ballast.unlink()
                lab.complete(run)
                lab.assert_same("whole", run)
            shutil.rmtree(disk / f"run-{attempt}")
        assert refused


@full_only
def test_a_file_may_not_grow(lab: Lab, tally: Tally) -> None:
    """The limit on the size of a file does as a quota, to any user: `steps.csv` is the one that exceeds it."""
    lab.complete("whole")
    draw = dice()
    for attempt in range(how_many(1, 0.03)):
        limit, run = draw.randrange(2_000, 8_000), f"run-{attempt}"
        with tally.expecting("The quota is used up"):
            arguments = lab.command(run)
            code, said = lab.run(arguments, before=("prlimit", f"--fsize={limit}"), env={"MPLBACKEND": "agg"})
            assert code == 1, said
            assert "File too large" in one_sentence(said), said
            lab.complete(run)
            lab.assert_same("whole", run)


@full_only
def test_a_directory_that_is_read_only(lab: Lab, tally: Tally) -> None:
    lab.complete("whole", epochs=2)
    with small_disk(lab.directory / "disk", 20_000_000) as disk:
        lab.complete("disk/run", epochs=2)
        shutil.rmtree(max((disk / "run" / "checkpoints").glob("step_*"), key=lambda path: int(path.name[5:])))
        before = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with tally.expecting("The run directory is read-only", lambda: 2):
            code, said = lab.run(lab.command("disk/run"))
            assert code == 1, said
            assert "Read-only file system" in one_sentence(said)
            code, said = lab.run(lab.command("disk/another"))
            assert code in (1, 2), said
            assert "Read-only file system" in one_sentence(said)
            assert {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()} == before
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            lab.complete("disk/run")
            lab.assert_same("whole", "disk/run")


@full_only
def test_a_directory_that_is_removed_meanwhile(lab: Lab, tally: Tally) -> None:
    for attempt in range(how_many(1, 0.03)):
        run = f"run-{attempt}"
        steps = lab.directory / run / "steps.csv"
        with tally.expecting("The run directory is removed under the run"):
            process = lab.start(lab.command(run, epochs=100))
            assert until(process, lambda steps=steps: steps.exists() and steps.stat().st_size > 100)  # type: ignore[misc]
            shutil.rmtree(lab.directory / run, ignore_errors=True)
            code, said = ended(process)
            assert code == 1, said
            one_sentence(said)
            shutil.rmtree(lab.directory / run, ignore_errors=True)
            lab.complete(run, epochs=1)


@full_only
def test_memory_that_is_refused(lab: Lab, tally: Tally) -> None:
    """A process that runs out of memory dies in whatever library asks for more; what counts is what is left of it."""
    lab.complete("whole")
    draw = dice()
    for attempt in range(how_many(2, 0.05)):
        run = f"run-{attempt}"
        with tally.expecting("Memory is limited, and used up"):
            process = lab.start(lab.command(run))
            steps = lab.directory / run / "steps.csv"
            assert until(process, lambda steps=steps: steps.exists() and steps.stat().st_size > 100)  # type: ignore[misc]
            # Less than it has, so that whatever it asks for next is refused.
            resource.prlimit(process.pid, resource.RLIMIT_AS, (draw.randrange(1 << 30),) * 2)  # type: ignore[attr-defined]
            process.communicate(timeout=240)
            lab.complete(run)
            lab.assert_same("whole", run)


@full_only
def test_two_processes_and_a_killed_one(lab: Lab, tally: Tally) -> None:
    lab.complete("whole")
    for attempt in range(how_many(1, 0.03)):
        run = f"run-{attempt}"
        steps = lab.directory / run / "steps.csv"
        with tally.expecting("Two processes want one run; the first is killed"):
            process = lab.start(lab.command(run))
            assert until(process, lambda steps=steps: steps.exists() and steps.stat().st_size > 100)  # type: ignore[misc]
            # It is held where it is, as long as the second one asks.
            process.send_signal(signal.SIGSTOP)
            before = steps.read_bytes()
            code, said = lab.run(lab.command(run))
            assert code == 2, said
            assert "another process is writing to" in one_sentence(said)
            assert steps.read_bytes() == before
            process.kill()
            ended(process)
            lab.complete(run)
            lab.assert_same("whole", run)


# A module of this name is imported by Python when it starts.
BACK = """
import time
_time, _monotonic = time.time, time.monotonic()
# An hour back, and a minute for every second that passes.
time.time = lambda: _time() - 3600 - 60 * (time.monotonic() - _monotonic)
"""


@full_only
def test_the_clock_is_set_back(lab: Lab, tally: Tally) -> None:
    lab.complete("whole")
    (lab.directory / "back").mkdir()
    (lab.directory / "back" / "sitecustomize.py").write_text(BACK, encoding="utf-8")
    draw = dice()
    for attempt in range(how_many(1, 0.03)):
        run = f"run-{attempt}"
        steps, wanted = lab.directory / run / "steps.csv", draw.randrange(2_000, 6_000)
        with tally.expecting("The clock is set back, and runs backwards"):
            process = lab.start(lab.command(run))
            until(process, lambda steps=steps, wanted=wanted: steps.exists() and steps.stat().st_size > wanted)  # type: ignore[misc]
            process.kill()
            ended(process)
            code, said = lab.run(lab.command(run), site="back")
            assert code == 0, said
            lab.assert_same("whole", run)
