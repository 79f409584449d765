"""Whole processes, as a user starts them: their time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.options import Options, environment

LRTRAIN = (sys.executable, "-m", "lrtrain")
_POLL_SECONDS = 0.005
_LONGEST_SECONDS = 300
# The unit of `ru_maxrss`.
_MEMORY_UNIT = 1 if sys.platform == "darwin" else 1024


class Finished(NamedTuple):
    """A process that has ended."""

    seconds: float
    peak_bytes: int


def run(options: Options, *command: str) -> Finished:
    """Runs a command to its end; raises CalledProcessError with its output when it fails."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+", dir=options.directory) as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=said, cwd=options.directory, env=environment(options.directory)
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise subprocess.CalledProcessError(process.returncode, command, said.read())
    return Finished(seconds, usage.ru_maxrss * _MEMORY_UNIT)


def first_step(options: Options, cache: Path) -> float:
    """Starts the main job and returns the seconds from there to the end of its first update; then ends the process.

    Steps are logged chunk by chunk. So the first one's end is that of its chunk, less what the other steps of the chunk
    took, at the rate of the next chunk.
    """
    run_dir = Path(tempfile.mkdtemp(dir=options.directory))
    command = (*LRTRAIN, "--plugin=constant", f"--run-dir={run_dir}")
    kept = environment(options.directory, LRTRAIN_CACHE_DIR=str(cache))
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=options.directory, env=kept
    )
    try:
        first, first_at = _wait_for_rows(process, run_dir / "steps.csv", 1)
        more, more_at = _wait_for_rows(process, run_dir / "steps.csv", first + 1)
    finally:
        process.kill()
        process.wait()
    return first_at - start - (first - 1) * (more_at - first_at) / (more - first)


def _wait_for_rows(process: subprocess.Popen[bytes], path: Path, wanted: int) -> tuple[int, float]:
    """Returns how many rows there are, at least as many as wanted, and when."""
    give_up = time.perf_counter() + _LONGEST_SECONDS
    while (rows := _rows(path)) < wanted:
        if process.poll() is not None or time.perf_counter() > give_up:
            raise RuntimeError(f"the run wrote {rows} steps to {path}, not {wanted}; status {process.poll()}")
        time.sleep(_POLL_SECONDS)
    return rows, time.perf_counter()


def _rows(path: Path) -> int:
    return path.read_bytes().count(b"\n") - 1 if path.exists() else 0
