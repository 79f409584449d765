"""Columns of text as lines."""

from __future__ import annotations

from collections.abc import Sequence

BETWEEN = "  "


def lines(columns: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Returns columns, each with its heading, as lines; those that are ``right`` are aligned on the right."""
    widths = [max(map(len, column)) for column in columns]
    return [
        BETWEEN.join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in zip(*columns, strict=True)
    ]
