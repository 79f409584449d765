"""Which trials of a comparison train together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from lrtrain.comparison.trial import Trial

T = TypeVar("T")


def in_waves(trials: Sequence[Trial], devices: int, size: int) -> list[list[Trial]]:
    """Returns trials in waves of as many as ``devices`` train, each ``size`` of them side by side.

    As far as they fill a device, those of one seed are on the same one; other than that, the order stays.
    """
    ordered = list(trials)
    if size > 1:
        by_seed: dict[int, list[Trial]] = {}
        for trial in trials:
            by_seed.setdefault(trial.seed, []).append(trial)
        groups = [group for each in by_seed.values() for group in _cut(each, size)]
        ordered = [trial for group in sorted(groups, key=lambda group: len(group) < size) for trial in group]
    return _cut(ordered, devices * size)


def _cut(values: list[T], length: int) -> list[list[T]]:
    return [values[begin : begin + length] for begin in range(0, len(values), length)]
