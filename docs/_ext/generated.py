"""Fills the pages' marks ``<!-- generated: NAME -->`` with Markdown that is made from the code when the site is built.

A mark is filled from what is installed: a package that is added appears without another change.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import from_code
import from_imports
import from_plugins
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

_MARK = re.compile(r"<!-- generated: ([a-z-]+) -->")
_PICTURE = re.compile(r"<!-- picture: (\S+) \| (.*?) -->")
MAKERS: dict[str, Callable[[], str]] = {
    "api": from_code.api,
    "columns": from_code.columns,
    "hooks": from_code.hooks,
    "gallery": from_plugins.gallery,
    "plugins": from_plugins.reference,
    "rooms": from_imports.rooms,
    "training-options": from_code.training_options,
    "tutorial": from_plugins.tutorial,
    "workloads": from_plugins.workloads,
}


def setup(app: Sphinx) -> dict[str, Any]:
    """Connects the functions below to the reading of pages."""
    app.connect("builder-inited", lambda app: from_plugins.draw(Path(app.srcdir) / "_generated"))
    app.connect("source-read", _read)
    # Before napoleon, which has 500.
    app.connect("autodoc-process-docstring", _code_blocks, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    folder = (Path(app.srcdir) / page).parent
    source[0] = _PICTURE.sub(lambda mark: _picture(folder, mark[1], mark[2]), filled(source[0], page))


def _code_blocks(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Turns the fences of Markdown in a docstring into directives, in place."""
    inside, changed = False, []
    for line in lines:
        if line.strip().startswith("```"):
            inside = not inside
            changed += [line.replace("```", ".. code-block:: "), ""] if inside else [""]
        else:
            changed.append(f"   {line}" if inside and line else line)
    lines[:] = changed


def filled(text: str, page: str) -> str:
    """Returns a page with its marks filled; ExtensionError for an unknown mark."""

    def fill(mark: re.Match[str]) -> str:
        if mark[1] not in MAKERS:
            raise ExtensionError(f"{page}: nothing is generated as '{mark[1]}'; there is {', '.join(MAKERS)}")
        return MAKERS[mark[1]]()

    return _MARK.sub(fill, text)


def _picture(folder: Path, path: str, title: str) -> str:
    """Returns a picture of measured results, if it has been made and committed."""
    if (folder / path).is_file():
        return f"![{title}]({path})"
    return f"*Not measured yet: {title[0].lower()}{title[1:]}.*"
