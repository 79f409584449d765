"""Names that are not UTF-8, as any name on Linux may be: what is written is UTF-8, and nothing ends in a traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ARCHIVE = Path(__file__).parent / "fixtures" / "before.tar.xz"
BAD = os.fsdecode(b"bad\xff")
SHOWN = "bad\\udcff"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs and a comparison; a run and the comparison have such names."""
    folder = tmp_path_factory.mktemp("names")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    (folder / "many").mkdir()
    for old, new in [("finished", f"many/{BAD}"), ("cut", "many/cut"), ("comparison", f"comparison-{BAD}")]:
        try:
            shutil.move(folder / old, folder / new)
        except OSError:
            pytest.skip("this file system has names in UTF-8 only")
    (folder / BAD).mkdir()
    (folder / f"{BAD}.py").write_text("class Flat: pass\n")
    return folder


def lrtrain(place: Path, *words: str) -> tuple[int, str, str]:
    """Runs a real process; fails unless what it prints is UTF-8 and has no traceback."""
    environment = {**os.environ, "PYTHONPATH": str(place)}
    done = subprocess.run(
        [sys.executable, "-m", "lrtrain", *words], cwd=place, env=environment, capture_output=True, check=False
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in err, err
    return done.returncode, out, err


def test_runs_are_listed_and_shown(place: Path) -> None:
    code, out, _ = lrtrain(place, "runs", "list", "--dir", "many")
    assert (code, SHOWN in out) == (0, True)
    code, out, _ = lrtrain(place, "runs", "list", "--dir", "many", "--json")
    assert [run["name"] for run in json.loads(out)] == [BAD, "cut"]
    code, out, _ = lrtrain(place, "runs", "show", f"many/{BAD}")
    assert (code, SHOWN in out) == (0, True)


@pytest.mark.parametrize("what", ["many", f"many/{BAD}", f"comparison-{BAD}"])
def test_a_report_is_utf8(place: Path, what: str) -> None:
    code, _, err = lrtrain(place, "report", what, "--output", "page.html", "--force")
    assert code == 0, err
    page = (place / "page.html").read_text(encoding="utf-8")
    assert (SHOWN in page) == (what == "many" or what.startswith("many/"))


@pytest.mark.parametrize("words", [
    ["plot", "--plugin", "sgdr", "--output", f"{BAD}.svg"],
    ["plot", "--plugin", "sgdr", "--output", f"{BAD}.csv"],
    ["export", "--plugin", "sgdr", "--to", "csv", "--output", f"{BAD}-table.csv"],
])  # fmt: skip
def test_an_output_may_have_such_a_name(place: Path, words: list[str]) -> None:
    code, out, err = lrtrain(place, *words)
    assert (code, out.startswith(SHOWN)) == (0, True), err
    (place / words[-1]).read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [
    ["--plugin", "constant", "--run-dir", BAD],
    ["--resume", "--run-dir", f"many/{BAD}"],
    ["--plugin", "constant", "--data-dir", BAD],
    ["--plugin", "constant", "--dataset", BAD],
    ["--plugin", f"./{BAD}.py:Flat"],
])  # fmt: skip
def test_what_no_run_could_be_continued_with_is_refused(place: Path, words: list[str]) -> None:
    """A checkpoint cannot be written below such a name, and the configuration with it could not be read again."""
    before = sorted(os.listdir(place))
    code, out, err = lrtrain(place, "train", *words)
    said = [line for line in err.splitlines() if not line.endswith("...")]
    assert (code, out, len(said)) == (2, "", 1)
    assert said[0].startswith("Error: ")
    assert SHOWN in said[0]
    assert sorted(os.listdir(place)) == before
