"""The rooms of the package as a picture, from the imports in its source.

A room is a folder of the package; a module beside the folders is a room too where it imports one, else it is part of
the ground. An arrow that follows from others is left out.
"""

from __future__ import annotations

import ast
import itertools
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import layers

import lrtrain

PACKAGE = Path(lrtrain.__file__).parent
GROUND = "ground"
# They import names when these are first used, or only start the command line.
_DOORS = {PACKAGE / "__init__.py", PACKAGE / "__main__.py", PACKAGE / "runs" / "__init__.py"}
_WIDTH, _LINE, _MARGIN, _GAP, _PORT = 156, 14, 14, 44, 22
_CAPTION = (
    "An arrow points from a room to one that it imports. Arrows that follow from others are left out: "
    "a room may import every room that its arrows lead to."
)
_TIP = (
    '<defs><marker id="rooms-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0 8 4 0 8z"/></marker></defs>'
)


def rooms() -> str:
    """Returns the picture as SVG inside a page, with its arrows in words for those who do not see it."""
    arrows, ground = imports()
    arrows = reduced(arrows)
    drawing = layers.place(arrows, _WIDTH, _MARGIN)
    texts = {room: _text(room) for room in arrows if room != GROUND}
    texts[GROUND] = textwrap.wrap(", ".join(ground), 90)
    heights = [30 + _LINE * max(len(texts.get(str(node), [])) for node in row) for row in drawing.floors]
    tops = [10 + sum(heights[:floor]) + _GAP * floor for floor in range(len(heights))]
    width = max(drawing.x.values()) + _WIDTH / 2 + _MARGIN
    edges = {node: (tops[floor], heights[floor]) for floor, row in enumerate(drawing.floors) for node in row}
    return "\n".join(
        [
            f'<figure class="rooms"><svg viewBox="0 0 {width:.0f} {tops[-1] + heights[-1] + 10}" role="img" '
            'aria-labelledby="rooms-title rooms-words">',
            '<title id="rooms-title">The rooms of lrtrain and what they import</title>',
            f'<desc id="rooms-words">{escape(in_words(arrows))}</desc>',
            _TIP,
            *(_line(chain, ends, edges) for chain, ends in zip(drawing.chains, _ports(drawing), strict=True)),
            *(_box(room, texts[room], drawing.x[room], edges[room], _WIDTH) for room in arrows if room != GROUND),
            _box(GROUND, texts[GROUND], width / 2, edges[GROUND], width - 2 * _MARGIN),
            f"</svg><figcaption>{_CAPTION}</figcaption></figure>",
        ]
    )


def imports() -> tuple[dict[str, set[str]], list[str]]:
    """Returns for each room those that it imports, imports for types included; and the modules of the ground."""
    found: dict[str, set[str]] = {}
    for path in sorted(set(PACKAGE.rglob("*.py")) - _DOORS):
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        found.setdefault(room, set()).update(set(_imports(path)) - {room})
    flat = {room for room in found if (PACKAGE / f"{room}.py").is_file()}
    ground = sorted(room for room in flat if found[room] <= flat)
    above = {room: others for room, others in found.items() if room not in ground}
    arrows = {room: {GROUND if each in ground else each for each in others} for room, others in above.items()}
    return {**arrows, GROUND: set()}, ground


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith(f"{PACKAGE.name}."))


def reduced(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Returns the arrows without those that follow from others."""

    def below(room: str) -> set[str]:
        return arrows[room].union(*map(below, arrows[room]))

    return {room: others - set().union(*map(below, others)) for room, others in arrows.items()}


def in_words(arrows: Mapping[str, set[str]]) -> str:
    """Returns a sentence for each room that imports others."""
    return " ".join(f"{room} imports {', '.join(sorted(others))}." for room, others in arrows.items() if others)


def _text(room: str) -> list[str]:
    """Returns the lines below a room's name: how the docstring of its package begins."""
    path = PACKAGE / room / "__init__.py" if (PACKAGE / room).is_dir() else PACKAGE / f"{room}.py"
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    said = re.split(r"[:;.] |\.$", re.sub(r"^`\w+`: ", "", first))[0]
    return textwrap.wrap(said[:1].upper() + said[1:], 23, max_lines=5, placeholder=" …")


def _ports(drawing: layers.Layers) -> Iterator[list[float]]:
    """Yields the places of an arrow on each floor; several arrows on one side of a room have a distance."""

    def port(chain: Sequence[layers.Node], end: int, beside: int) -> float:
        here = sorted(drawing.x[each[beside]] for each in drawing.chains if each[end] == chain[end])
        return drawing.x[chain[end]] + _PORT * (here.index(drawing.x[chain[beside]]) - (len(here) - 1) / 2)

    for chain in drawing.chains:
        at = [port(chain, 0, 1), *(drawing.x[node] for node in chain[1:-1])]
        yield [*at, at[-1] if chain[-1] == GROUND else port(chain, -1, -2)]


def _line(chain: Sequence[layers.Node], at: Sequence[float], edges: Mapping[layers.Node, tuple[int, int]]) -> str:
    """Returns an arrow: straight past the floors that it passes, bent between two."""
    drawn = f"M{at[0]:.0f} {sum(edges[chain[0]])}"
    for (before, begin), (node, end) in itertools.pairwise(zip(chain, at, strict=True)):
        low, (top, height) = sum(edges[before]), edges[node]
        middle = (low + top) / 2
        drawn += f"C{begin:.0f} {middle:.0f} {end:.0f} {middle:.0f} {end:.0f} {top}"
        drawn += f"V{top + height}" if node != chain[-1] else ""
    return f'<path class="arrow" marker-end="url(#rooms-tip)" d="{drawn}"/>'


def _box(room: str, text: Sequence[str], middle: float, edges: tuple[int, int], width: float) -> str:
    """Returns a room: its name, and below it its text."""
    top, height = edges
    name = room if room == GROUND or (PACKAGE / room).is_dir() is False else f"{room}/"
    first = top + (height - _LINE * len(text)) / 2 + 4
    said = "".join(f'<tspan x="{middle:.0f}" dy="{_LINE}">{escape(line)}</tspan>' for line in text)
    return (
        f'<g class="room"><rect x="{middle - width / 2:.0f}" y="{top}" width="{width:.0f}" height="{height}" rx="5"/>'
        f'<text x="{middle:.0f}" y="{first:.0f}"><tspan class="name">{escape(name)}</tspan>{said}</text></g>'
    )
