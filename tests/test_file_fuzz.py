"""Files of runs and comparisons, changed at random: every command that reads them gives a result or one sentence."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import tarfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lrtrain.cli import main

# How many files are changed; the session `fuzz` changes as many as it says.
MUTANTS = int(os.environ.get("LRTRAIN_FILE_FUZZ", "120"))
ARCHIVE = Path(__file__).parent / "fixtures" / "before.tar.xz"
SECONDS = 60
VALUES: list[Any] = [
    None, True, 0, -1, 5, 10**9, 10**19, 10**400, 0.5, -0.0, float("inf"), float("-inf"), float("nan"), "", "x", "1",
    "\x1b[31mred\x1b[0m", "a\nb", "\x00", "\u202eabc", "é", "x" * 5000, [], {}, [1, 2], {"a": 1}, [[[[[[1]]]]]],
    "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59-12:00", "2026-02-30", "validation", "finished", "tune",
]  # fmt: skip
TEXTS = ['"\\ud800"', "1e400", "-1e400", "[" * 2000, '{"a":' * 2000, "NaN", "0x1", "'a'", "1" * 5000, '"\\u0000"']
RUN_FILES = ("config.json", "metrics.jsonl", "steps.csv")
COMMANDS: dict[str, list[list[str]]] = {
    "run": [
        ["runs", "list", "--dir", "."],
        ["runs", "list", "--dir", ".", "--json"],
        ["runs", "show", "finished", "--dir", "."],
        ["runs", "show", "finished", "--dir", ".", "--json"],
        ["runs", "compare", "finished", "cut", "--dir", ".", "--epochs"],
        ["runs", "remove", "finished", "--dir", ".", "--yes"],
        ["report", "finished", "cut", "--output", "page.html"],
        ["train", "--resume", "--run-dir", "finished", "--quiet"],
    ],
    "comparison": [
        ["runs", "list", "--dir", "."],
        ["runs", "list", "--dir", "comparison", "--json"],
        ["report", "comparison"],
        ["report", "comparison", "--output", "page.html"],
        ["compare", "--resume", "--run-dir", "comparison", "--json"],
        ["compare", "--merge", "comparison", "--merge", "comparison-cut", "--run-dir", "merged", "--quiet"],
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sound")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(place, filter="data")
    return place


@contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the way to every value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield (*path, key)
        yield from places(each, (*path, key))


def change_json(text: str, draw: random.Random) -> str:
    values = json.loads(text)
    *way, last = draw.choice(list(places(values)) or [("a",)])
    inner = values
    for key in way:
        inner = inner[key]
    kind = draw.randrange(4)
    if kind == 0:
        del inner[last]
        return json.dumps(values)
    if kind == 1:
        inner[last] = "PLACE"
        return json.dumps(values).replace('"PLACE"', draw.choice(TEXTS), 1)
    inner[last] = draw.choice(VALUES)
    # A key that is given twice: the last one counts.
    doubled = f'{{"version": 1, {json.dumps(values)[1:]}' if kind == 3 and isinstance(values, dict) else None
    return doubled or json.dumps(values)


def change_line(text: str, draw: random.Random, *, is_json: bool) -> str:
    lines = text.splitlines()
    at = draw.randrange(len(lines))
    kind = draw.randrange(5)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[draw.randrange(len(lines))])
    elif is_json:
        lines[at] = change_json(lines[at], draw)
    else:
        cells = lines[at].split(",")
        cells[draw.randrange(len(cells))] = draw.choice(["", "x", "nan", "inf", "-1", "1e400", "9" * 400, "\x1b[31m"])
        lines[at] = ",".join(cells)
    return "\n".join(lines) + "\n"


def change_bytes(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    kind = draw.randrange(6)
    if kind == 0:
        file.write_bytes(content[: draw.randrange(len(content) + 1)])
    elif kind == 1:
        for _ in range(3):
            content[draw.randrange(len(content))] = draw.randrange(256)
        file.write_bytes(content)
    elif kind == 2:
        file.write_bytes(content.decode().replace("e", "é").encode("latin-1"))
    elif kind == 3:
        file.write_bytes(b"")
    elif kind == 4:
        file.unlink()
    else:
        file.unlink()
        file.mkdir()


def mutate(file: Path, draw: random.Random) -> None:
    if draw.random() < 0.25:
        change_bytes(file, draw)
        return
    text = file.read_text(encoding="utf-8")
    changed = change_json(text, draw) if file.suffix == ".json" else change_line(
        text, draw, is_json=file.suffix == ".jsonl"
    )  # fmt: skip
    file.write_text(changed, encoding="utf-8")


def run(command: list[str]) -> Result:
    with no_longer_than(SECONDS):
        return CliRunner().invoke(main, command)


def problem_of(result: Result) -> str | None:
    """Returns what is wrong with how a command ended; None if nothing is."""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return "".join(traceback.format_exception(result.exception)[-6:])
    if result.exit_code not in {0, 1, 2} or (result.exit_code and result.stderr.count("Error: ") != 1):
        return f"exit code {result.exit_code}: {result.output}"
    return "a sequence for a terminal is printed" if "\x1b[31mred" in result.output else None


@pytest.mark.timeout(6000)
@pytest.mark.parametrize("kind", COMMANDS)
def test_changed_files(sound: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.syspath_prepend(str(sound))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tiny))
    draw = random.Random(f"{kind} {os.environ.get('LRTRAIN_FAULTS_SEED', '6')}")
    problems: list[str] = []
    for number in range(MUTANTS // 2):
        place = tmp_path / str(number)
        shutil.copytree(sound, place, ignore=shutil.ignore_patterns("cache", "expected", "small_model.py"))
        monkeypatch.chdir(place)
        file = draw.choice(files(place, kind))
        seen = random.Random(number)
        mutate(file, draw)
        # What trains or draws takes seconds, and is asked more rarely.
        cheap = [each for each in COMMANDS[kind] if each[0] == "runs"]
        command = draw.choice(COMMANDS[kind]) if seen.random() < _share(kind) else draw.choice(cheap)
        if problem := problem_of(run(command)):
            problems.append(f"mutant {number}, {file.relative_to(place)}, {' '.join(command)}: {problem}")
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(place)
    assert not problems, f"{len(problems)} of {MUTANTS // 2}\n" + "\n".join(problems[:20])


def _share(kind: str) -> float:
    return 0.5 if MUTANTS <= 200 else 0.25


def files(place: Path, kind: str) -> list[Path]:
    if kind == "run":
        return [place / "finished" / name for name in RUN_FILES]
    runs = sorted((place / "comparison" / "runs").iterdir())[:4]
    return [
        *[place / "comparison" / "comparison.json"] * 6,
        *(run / name for run in runs for name in (*RUN_FILES, "outcome.json")),
    ]
