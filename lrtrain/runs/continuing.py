"""How a run or a comparison is continued that has ended early, in words that can be copied into a shell."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["run", "comparison"]


def how_to_go_on(directory: str | Path | None, kind: Kind = "run", *options: str, command: str | None = None) -> str:
    """Returns which command continues what has ended, as the second half of a sentence.

    Args:
      directory: where its files are; None if it has none yet.
      kind: what has ended.
      options: other options that it needs.
      command: the command without its options; None for that of a single process.

    Example:
      >>> how_to_go_on("runs/my run")
      "lrtrain --resume --run-dir 'runs/my run' continues the run"
    """
    if directory is None:
        return "nothing has been trained yet"
    return f"{resume_command(directory, kind, *options, command=command)} continues the {kind}"


def resume_command(directory: str | Path, kind: Kind = "run", *options: str, command: str | None = None) -> str:
    """Returns the command that continues a run or a comparison; see `how_to_go_on`."""
    usual = {"run": "lrtrain", "comparison": "lrtrain compare"}
    return f"{command or usual[kind]} {shlex.join(['--resume', *options, '--run-dir', str(directory)])}"
