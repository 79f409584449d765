"""``--to csv``: the table, as ``lrtrain plot --output curve.csv`` has it."""

from __future__ import annotations

from lrtrain.schedules.export.source import ScheduleSource


def write(source: ScheduleSource) -> list[str]:
    """Returns a line for each step, with the shortest number that is read back as the same float32."""
    return ["step,learning_rate", *(f"{step},{value!s}" for step, value in enumerate(source.values))]
