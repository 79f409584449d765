"""Checks that what happens at a step happens at exactly that step, for runs of 1 to 512 steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.plugins.spec import Spec
from lrtrain.testing.evaluation import compiled_values, equations, exact_values
from lrtrain.testing.failure import fail
from lrtrain.testing.modes import close
from lrtrain.testing.subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST = 512
# Operations that are compiled in all: a schedule that has more of them is compiled for fewer of the lengths.
_OPERATIONS = 500


def boundaries_are_exact(subject: Subject) -> None:
    """Compiled in float32, it changes at the same steps as in float64, whatever the length of the run.

    XLA turns a division by a constant into a product with its reciprocal, so ``floor(count / 235)`` changes late.
    """
    for spec in subject.specs:
        lengths = buildable(subject, spec, lengths_of(subject, spec))
        _check(subject, spec, lengths)


def lengths_of(subject: Subject, spec: Spec) -> Sequence[int]:
    """Returns the lengths that a spec is compiled for: 1 to 512, or some of these when it has many operations."""
    size = equations(subject.build(spec, subject.usual_length(spec))) or 1
    stride = 1 if subject.every_length else max(1, LONGEST * size * len(subject.specs) // _OPERATIONS)
    # Always with 41, 47, 55 and 235, whose reciprocals are rounded down.
    return sorted({*range(1, 9), 41, 47, 55, 235, *range(LONGEST, 0, -stride)})


def buildable(subject: Subject, spec: Spec, lengths: Sequence[int]) -> list[int]:
    """Returns the lengths of run that the spec can be built for; the defaults must be, from `min_steps` on."""
    found = [length for length in lengths if subject.builds(spec, length)]
    if not spec.options:
        for length in lengths:
            if length >= subject.traits.min_steps and length not in found:
                fail(
                    f"'{spec}' is refused for a run of {length} steps, and its traits say "
                    f"min_steps={subject.traits.min_steps}"
                )
    return found


def _check(subject: Subject, spec: Spec, lengths: Sequence[int]) -> None:
    schedules = [subject.build(spec, length) for length in lengths]
    applied = compiled_values(schedules, LONGEST)
    exact = exact_values([schedules[place] for place in applied], LONGEST)
    for (place, values), table in zip(applied.items(), exact, strict=True):
        length = lengths[place]
        _compare(spec, length, table[:length], values[:length])


def _compare(spec: Spec, length: int, table: NDArray[np.float64], values: NDArray[np.float32]) -> None:
    wrong = ~close(values, table)
    if wrong.any():
        at = int(np.argmax(wrong))
        fail(
            f"'{spec}' in a run of {length} steps gives {values[at]:g} at step {at} once it is compiled, and "
            f"{table[at]:g} in float64: count in whole numbers, as in count // steps"
        )
