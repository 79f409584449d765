"""Text that is safe to show in a terminal, and curves drawn there, two by four dots in a character."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Unicode's braille patterns: the bit of each dot, by row and column within a character.
_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_COLOURS = ("cyan", "yellow", "magenta", "green", "red", "blue", "white")
_MARGIN = 10


def printable(text: str) -> str:
    """Returns text on one line that cannot control a terminal: characters that are not printable become escapes."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def shown_path(path: Path) -> str:
    """Returns a path as seen from here, when it is below, and as `printable` text."""
    try:
        return printable(str(path.relative_to(Path.cwd())))
    except (ValueError, FileNotFoundError):
        # Elsewhere, or the working directory has been removed.
        return printable(str(path))


def duration(seconds: float) -> str:
    """Returns a time in words, such as ``12 min 3 s``; a dash for one that is no number, as in a damaged log."""
    if not math.isfinite(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{seconds:.1f} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def draw(curves: Mapping[str, NDArray[np.float32]], width: int = 72, height: int = 13) -> str:
    """Returns curves, float32[steps] by name and all of one length, as text; numbers stand beside width and height."""
    top = max(float(values.max()) for values in curves.values()) or 1.0
    steps = max(map(len, curves.values()))
    cells = [[(0, 0)] * width for _ in range(height)]
    for index, values in enumerate(curves.values()):
        _add(cells, values, top, index)
    lines = []
    for row, each in enumerate(cells):
        label = f"{top * (1 - row / (height - 1)):.3g}" if row in (0, height // 2, height - 1) else ""
        lines.append(f"{label:>{_MARGIN}} ┤{_line(each)}")
    lines.append(" " * _MARGIN + " └" + "─" * width)
    lines.append(f"{'':{_MARGIN}}  0{f'step {steps - 1}':>{width - 1}}")
    for index, (name, values) in enumerate(curves.items()):
        mark = click.style("━━", fg=_COLOURS[index % len(_COLOURS)])
        lines.append(
            f"{'':{_MARGIN}}  {mark} {name}  (first {values[0]:.3g}, highest {values.max():.3g}, last {values[-1]:.3g})"
        )
    return "\n".join(lines)


def _add(cells: list[list[tuple[int, int]]], values: NDArray[np.float32], top: float, colour: int) -> None:
    """Sets the dots of one curve; each column of dots spans all values that fall into it, so no peak is missed."""
    rows, columns = 4 * len(cells), 2 * len(cells[0])
    last = None
    for column in range(columns):
        begin = column * len(values) // columns
        part = values[begin : max((column + 1) * len(values) // columns, begin + 1)]
        low, high = (round((1 - float(value) / top) * (rows - 1)) for value in (part.max(), part.min()))
        if last is not None:
            low, high = min(low, last[1]), max(high, last[0])
        last = (low, high)
        for row in range(low, high + 1):
            dots, _ = cells[row // 4][column // 2]
            cells[row // 4][column // 2] = (dots | _DOTS[row % 4][column % 2], colour)


def _line(cells: list[tuple[int, int]]) -> str:
    """Returns one line, with one colour code for each stretch of one colour."""
    result = ""
    for colour, stretch in itertools.groupby(cells, key=lambda cell: cell[1]):
        text = "".join(chr(_BRAILLE + dots) if dots else " " for dots, _ in stretch)
        result += click.style(text, fg=_COLOURS[colour % len(_COLOURS)]) if text.strip() else text
    return result
