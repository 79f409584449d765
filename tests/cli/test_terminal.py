"""Curves drawn in a terminal, and what is safe to print there."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from lrtrain.cli import main
from lrtrain.cli.terminal import draw, duration, shown_path

BRAILLE = range(0x2800, 0x2900)
# The dots of a braille character, left and right column from top to bottom, as Unicode numbers them.
LEFT, RIGHT = (1, 2, 3, 7), (4, 5, 6, 8)


def plane(text: str) -> list[str]:
    """Returns the lines between the axis and the right edge."""
    return [line.split("┤")[1] for line in click.unstyle(text).splitlines() if "┤" in line]


def dots(text: str) -> np.ndarray:
    """Returns which dots are set, bool[rows, columns], read by Unicode's own numbering."""
    lines = plane(text)
    grid = np.zeros((4 * len(lines), 2 * len(lines[0])), bool)
    for row, line in enumerate(lines):
        for column, character in enumerate(line):
            bits = ord(character) - 0x2800 if ord(character) in BRAILLE else 0
            for side, numbering in enumerate((LEFT, RIGHT)):
                for inner, number in enumerate(numbering):
                    grid[4 * row + inner, 2 * column + side] = bits >> (number - 1) & 1
    return grid


def curve(values: object) -> dict[str, np.ndarray]:
    return {"one": np.asarray(values, np.float32)}


def test_size_and_frame() -> None:
    text = draw(curve(np.linspace(0, 1, 2350)), width=30, height=7)
    lines = text.splitlines()
    assert [len(line) for line in plane(text)] == [30] * 7
    assert click.unstyle(lines[7]) == " " * 10 + " └" + "─" * 30
    assert lines[8].split() == ["0", "step", "2349"]
    assert len(lines[8]) == 12 + 30


def test_a_rising_line_is_a_diagonal() -> None:
    grid = dots(draw(curve(np.linspace(0, 1, 40)), width=20, height=10))
    assert grid.shape == (40, 40)
    assert grid.any(axis=0).all(), "every column has a dot"
    tops = grid.argmax(axis=0)
    assert tops[0] == 39
    assert tops[-1] == 0
    assert (np.diff(tops) <= 0).all()
    np.testing.assert_allclose(39 - tops, np.arange(40), atol=1)


def test_a_constant_is_one_line_at_the_top() -> None:
    grid = dots(draw(curve(np.full(2350, 1e-4))))
    assert grid[0].all()
    assert not grid[1:].any()


def test_zero_is_one_line_at_the_bottom() -> None:
    grid = dots(draw(curve(np.zeros(100))))
    assert grid[-1].all()
    assert not grid[:-1].any()


@pytest.mark.parametrize("step", [0, 1, 1234, 2348, 2349])
def test_a_single_step_is_not_missed(step: int) -> None:
    spike, dip = np.full(2350, 0.5), np.full(2350, 0.5)
    spike[step], dip[step] = 1, 0
    column = step * 144 // 2350
    both = dots(draw({"spike": spike.astype(np.float32), "dip": dip.astype(np.float32)}))
    assert both[0].nonzero()[0].tolist() == [column]
    assert both[-1].nonzero()[0].tolist() == [column]
    assert both[:, column].all(), "drawn from the top to the bottom"


def test_a_jump_is_a_connected_line() -> None:
    grid = dots(draw(curve(np.repeat([1.0, 0.0], 50)), width=25, height=5))
    assert grid.any(axis=0).all()
    assert grid.all(axis=0).sum() == 1


def test_fewer_steps_than_columns() -> None:
    grid = dots(draw(curve([1.0, 0.0]), width=10, height=3))
    assert grid[0, :10].all()
    assert grid[-1, 10:].all()
    assert dots(draw(curve([0.3]), width=10, height=3))[0].all()


def test_labels_of_the_axis() -> None:
    labels = [line.split("┤")[0].strip() for line in draw(curve([0.0, 3e-4])).splitlines() if "┤" in line]
    assert labels == ["0.0003", *[""] * 5, "0.00015", *[""] * 5, "0"]


@pytest.mark.parametrize("top", [1.23456e-8, 1e-45, 3e38, 12345.678])
def test_labels_fit(top: float) -> None:
    lines = draw(curve([top, 0.0])).splitlines()
    assert {line.index("┤") for line in lines if "┤" in line} == {11}


def test_the_names_with_what_matters() -> None:
    text = draw(
        {"sgdr": np.array([0.5, 1, 0.25], np.float32), "join(schedules=[a, b])": np.array([0, 0.1, 0], np.float32)}
    )
    assert click.unstyle(text).splitlines()[-2:] == [
        " " * 12 + "━━ sgdr  (first 0.5, highest 1, last 0.25)",
        " " * 12 + "━━ join(schedules=[a, b])  (first 0, highest 0.1, last 0)",
    ]


def test_colours_tell_the_curves_apart() -> None:
    high, low = np.full(9, 1, np.float32), np.full(9, 0.5, np.float32)
    lines = draw({"high": high, "low": low}).splitlines()
    codes = [re.findall(r"\x1b\[(\d+)m", line) for line in lines]
    assert codes[0] == ["36", "0"]
    assert codes[6] == ["33", "0"]
    assert [codes[-2][0], codes[-1][0]] == ["36", "33"]
    assert sum(map(len, codes)) == 8, "one code for a stretch, none for what is empty"


def test_more_curves_than_colours() -> None:
    text = draw({str(index): np.full(5, index + 1, np.float32) for index in range(9)})
    assert len(text.splitlines()) == 13 + 2 + 9


def test_a_path_does_nothing_to_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "a" / "b") == os.path.join("a", "b")
    assert shown_path(Path("/x/\x1b[31mred\udcff")) == "/x/\\x1b[31mred\\udcff"


@pytest.mark.parametrize(("seconds", "text"), [
    (0.04, "0.0 s"), (59.4, "59.4 s"), (59.6, "1 min 0 s"), (723, "12 min 3 s"), (7500, "2 h 5 min"),
    (math.nan, "-"), (math.inf, "-"),
])  # fmt: skip
def test_times_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "arguments",
    [["plot", "--plugin", "linear", "--output"], ["export", "--plugin", "linear", "--to", "csv", "--output"]],
)
def test_names_of_files_are_printed_safely(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [*arguments, "\x1b[31mred.csv"])
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert result.output.startswith("\\x1b[31mred.csv")


@pytest.mark.skipif(os.name != "posix", reason="a directory in use cannot be removed")
@pytest.mark.parametrize(
    "arguments", [["runs", "list"], ["plot", "--plugin", "linear", "--output", "a.csv"], ["--plugin", "linear"]]
)
def test_a_working_directory_that_has_been_removed(arguments: list[str], tmp_path: Path) -> None:
    code = f"import os, sys, shutil; shutil.rmtree({str(tmp_path)!r}); from lrtrain.cli import main; main()"
    done = subprocess.run(
        # As the command has it, without the working directory on the path: Python 3.13.0 imports nothing from there.
        [sys.executable, "-P", "-c", code, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert (done.returncode, done.stderr.count("\n")) in {(0, 0), (2, 1)}, done.stderr
