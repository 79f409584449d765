"""Names of schedules where there is little room."""

from __future__ import annotations

_ROOM = 34


def short_name(label: str) -> str:
    """Returns a label, cut in the middle where it is long: the beginning says which plugin, the end which variant."""
    if len(label) <= _ROOM:
        return label
    half = (_ROOM - 3) // 2
    return f"{label[:half]} ... {label[-half:]}"
