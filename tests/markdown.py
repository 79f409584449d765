"""The fenced blocks of a Markdown page: found, read with the marks above them, and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r'((?:^<!-- test: .*? -->\n)*)^```(\w+)(?: title="(.*?)")?\n(.*?)^```$', re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A block of a page, with what its marks make of it: why it is not run, or the exit status that it has."""

    language: str
    title: str | None
    text: str
    reason: str | None
    status: int

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Yields each command after a ``$``, with the lines that it must print, among others."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, *expected = part.strip().splitlines()
            yield command, expected


def blocks(text: str, *languages: str) -> list[Block]:
    """Returns the blocks of a text, in their order: those of the languages, or all."""
    found = [_block(*each) for each in _BLOCK.findall(text)]
    return [each for each in found if not languages or each.language in languages]


def run(block: Block, directory: Path) -> None:
    """Runs a block in a process of its own, which ends with the block's status."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": ".", "MPLBACKEND": "agg", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(_arguments(block), cwd=directory, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == block.status, f"{block.text}\n{done.stdout}\n{done.stderr}"


def executed(block: Block) -> dict[str, Any]:
    """Runs a block of Python in this process; returns the names that it defines."""
    names: dict[str, Any] = {}
    exec(block.text, names)
    return names


def _block(marks: str, language: str, title: str, text: str) -> Block:
    reason, status = None, 0
    for mark in re.findall(r"<!-- test: (.*?) -->", marks):
        old, arrow, new = mark.partition(" => ")
        if mark.startswith("not run: "):
            reason = mark.removeprefix("not run: ")
        elif mark.startswith("fails with "):
            status = int(mark.removeprefix("fails with "))
        else:
            assert arrow, mark
            assert old in text, mark
            text = text.replace(old, new)
    return Block(language, title or None, text, reason, status)


def _arguments(block: Block) -> list[str]:
    """Returns the command that runs a block; the environment of the test stands for that of ``uv run``."""
    if block.language == "python":
        return [sys.executable, block.title] if block.title else [sys.executable, "-c", block.text]
    return ["bash", "-euo", "pipefail", "-c", block.text.replace("uv run lrtrain", "lrtrain")]
