"""Every command that trains, with every stream closed, full or on a terminal that has gone."""

from __future__ import annotations

import itertools

import pytest

from tests.cli.test_streams import CLOSED, FULL, LOST, PRINTING, lrtrain, on_a_vanished_terminal, small
from tests.faults.conftest import Tally
from tests.faults.lab import Lab, full_only

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
_STREAMS = {"stdout": (1,), "stderr": (2,), "both": (1, 2)}
_TRAINING = {
    "train": "train --plugin sgdr {small} --epochs 1 --run-dir {directory}",
    "find-lr": "find-lr --plugin sgdr {small} --steps 20",
    "compare": "compare --plugin sgdr --plugin wsd {small} --epochs 1 --holdout 24 --lr-scales 1 --tuning-seeds 1 "
    "--seeds 2 --run-dir {directory}",
}


def _ends(lab: Lab, line: str, stream: str, how: str) -> tuple[int, str]:
    if how == "vanished terminal":
        return on_a_vanished_terminal(line, cwd=lab.directory, streams=_STREAMS[stream])
    words = {"closed": CLOSED, "/dev/full": FULL}[how]
    redirected = " ".join(words[each] for each in (words if stream == "both" else [stream]))
    done = lrtrain(line, redirected, cwd=lab.directory)
    return done.returncode, done.stdout + done.stderr


@full_only
@pytest.mark.parametrize("how", ["closed", "/dev/full", "vanished terminal"])
@pytest.mark.parametrize("stream", list(_STREAMS))
def test_streams(stream: str, how: str, lab: Lab, tally: Tally) -> None:
    options = small(lab.directory, lab.data)
    trained = {name: line.format(small=options, directory=f"{name}-run") for name, line in _TRAINING.items()}
    for line in itertools.chain(trained.values(), PRINTING):
        with tally.expecting(f"A stream is closed, full or gone ({stream})"):
            code, said = _ends(lab, line, stream, how)
            assert "Traceback" not in said, said
            assert "Exception ignored" not in said, said
            assert code == (0 if stream == "stderr" else 1), (line, said)
            assert (LOST in said) == (stream == "stdout"), (line, said)
    assert len((lab.directory / "train-run" / "metrics.jsonl").read_text().splitlines()) == 1
    assert (lab.directory / "compare-run" / "report.html").is_file()
