"""Checks of the learning rates, for runs of many lengths."""

from __future__ import annotations

import numpy as np

from lrtrain.errors import LrtrainError, ScheduleError
from lrtrain.plugins.spec import Spec
from lrtrain.testing.failure import NotApplicable, fail, require
from lrtrain.testing.subject import LENGTHS, Subject

_LONG = 235
# Rounding errors of float32 are no rise, and those of float64 are 0.
_NEGLIGIBLE, _ROUNDING = 1e-6, 1e-12


def every_value_is_usable(subject: Subject) -> None:
    """Every learning rate is finite and not negative, over runs of 1 to a million steps."""
    for spec in subject.specs:
        usual = subject.usual_length(spec)
        for total_steps in sorted({*LENGTHS, usual}):
            must_build = not spec.options and total_steps >= subject.traits.min_steps
            if not must_build and not subject.builds(spec, total_steps):
                continue
            sentence = f"'{spec}' in a run of {total_steps} steps is 0 at every one of them"
            require(subject.table(spec, total_steps).any() or total_steps < _LONG, sentence)


def traits_hold(subject: Subject) -> None:
    """What the plugin declares as its traits is true of its defaults."""
    bare = _bare(subject)
    _check_shortest(subject, bare)
    lengths = [length for length in (7, 235, 2350) if length >= subject.traits.min_steps]
    rises = any(_rises(subject, bare, length) for length in lengths)
    says = f"traits of plugin '{subject.name}' say may_rise={subject.traits.may_rise}"
    require(rises or not subject.traits.may_rise, f"the {says}, and it never rises in runs of {lengths} steps")
    require(subject.traits.may_rise or not rises, f"the {says}, and it rises: declare may_rise=True")
    for length in [length for length in lengths if length >= _LONG]:
        _check_zero(subject, bare, length)


def _check_shortest(subject: Subject, bare: Spec) -> None:
    shortest = subject.traits.min_steps
    for total_steps in range(1, shortest):
        error = _refusal(subject, bare, total_steps)
        says = f"plugin '{subject.name}' says min_steps={shortest}, and a run of {total_steps} steps"
        if error is None:
            fail(f"{says} can be built: refuse it, or declare a lower min_steps")
        require(isinstance(error, ScheduleError), f"{says} is refused with {type(error).__name__}: raise ScheduleError")
        require(is_one_sentence(str(error)), f"{says} is refused with {str(error)!r}: write one sentence")
    error = _refusal(subject, bare, shortest)
    require(error is None, f"plugin '{subject.name}' says min_steps={shortest}, and so short a run is refused: {error}")


def _check_zero(subject: Subject, bare: Spec, total_steps: int) -> None:
    from lrtrain.testing.evaluation import exact_values

    (values,) = exact_values([subject.build(bare, total_steps)], total_steps + 1)
    reaches = bool(np.min(values) <= _ROUNDING * np.max(values))
    declared = subject.traits.reaches_zero
    found = f"its lowest value in steps 0 to {total_steps} is {np.min(values):g}"
    says = f"the traits of plugin '{subject.name}' say reaches_zero={declared}"
    require(reaches == declared, f"{says}, and {found}: declare reaches_zero={reaches}")


def _rises(subject: Subject, bare: Spec, total_steps: int) -> bool:
    values = subject.table(bare, total_steps).astype(np.float64)
    return bool(np.any(np.diff(values) > _NEGLIGIBLE * np.max(values)))


def _bare(subject: Subject) -> Spec:
    if subject.missing_parts:
        raise NotApplicable(f"its defaults name plugins that are not installed: {', '.join(subject.missing_parts)}")
    return Spec(subject.name)


def _refusal(subject: Subject, spec: Spec, total_steps: int) -> LrtrainError | None:
    try:
        subject.build(spec, total_steps)
    except LrtrainError as error:
        return error
    return None


def is_one_sentence(text: str) -> bool:
    """Returns whether a message is a text of one line, short enough to be read."""
    return bool(text.strip()) and "\n" not in text and len(text) <= 600
