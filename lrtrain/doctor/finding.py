"""What an examination has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Health: TypeAlias = Literal["ok", "note", "fault"]
"""``note``: something that some commands need; ``fault``: something that does not work."""


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Args:
      subject: what was examined.
      health: how it is.
      detail: what was found, on one line.
      cure: what to do about it; None when there is nothing to do.
    """

    subject: str
    health: Health
    detail: str
    cure: str | None = None
