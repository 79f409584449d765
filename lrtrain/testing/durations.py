"""Checks that a share of a run is the exact number of steps, rounded down."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le

from lrtrain.errors import LrtrainError
from lrtrain.plugins.context import Schedule
from lrtrain.plugins.duration import Duration
from lrtrain.plugins.spec import Spec
from lrtrain.testing.boundaries import LONGEST, lengths_of
from lrtrain.testing.evaluation import exact_values, same
from lrtrain.testing.failure import NotApplicable, fail
from lrtrain.testing.modes import close
from lrtrain.testing.subject import Subject

_CURE = "turn durations into steps with context.steps, once"
# The shares of 100 steps that a product of floats rounds down to a step less.
_ROUNDED_DOWN = [percent for percent in range(1, 100) if int(percent / 100 * 100) != percent]


def shares_are_exact(subject: Subject) -> None:
    """A share gives the same as its exact number of steps: 25% of T is T // 4, and 29% of 100 steps is 29."""
    looked_at = 0
    for spec in subject.specs:
        for length in lengths_of(subject, spec):
            counted = in_steps(subject, spec, length)
            if counted is not None:
                looked_at += 1
                _same_or_both_refused(subject, spec, counted, length)
    for spec, changed, length in _variants(subject):
        looked_at += 1
        _same_or_both_refused(subject, spec, changed, length)
    for option in _share_options(subject):
        looked_at += 1
        _check_share(subject, option)
    if not looked_at:
        raise NotApplicable("it has no option that is a duration or a share")


def in_steps(subject: Subject, spec: Spec, total_steps: int) -> Spec | None:
    """Returns the spec with every duration as a number of steps; None where that changes nothing."""
    instance = subject.active(spec).schedule_plugin().instance
    options = {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance) if field.init}
    counted = {name: _counted(value, total_steps) for name, value in options.items()}
    # Keys of a table that fall on one step would become one.
    if counted == options or any(_size(counted[name]) != _size(options[name]) for name in options):
        return None
    return Spec(subject.name, counted)


def _counted(value: Any, total_steps: int) -> Any:
    if isinstance(value, Duration):
        return Duration(value.steps(total_steps, min(47, total_steps)))
    if isinstance(value, list | tuple):
        return type(value)(_counted(each, total_steps) for each in value)
    if isinstance(value, dict):
        return {_counted(key, total_steps): _counted(each, total_steps) for key, each in value.items()}
    return value


def _size(value: Any) -> int:
    return len(value) if isinstance(value, dict) else 0


def _variants(subject: Subject) -> Iterator[tuple[Spec, Spec, int]]:
    """Yields the first spec with one duration as a share, and the same in steps, at lengths that are hard to round."""
    base = subject.specs[0]
    for name, hint in _hints(subject).items():
        if not any(form is Duration for form in _forms(hint)):
            continue
        for percent in (25, 29, 57):
            for length in (47, 100, LONGEST):
                share, steps = f"{percent}%", percent * length // 100
                options = dict(base.options)
                yield Spec(base.name, {**options, name: share}), Spec(base.name, {**options, name: steps}), length


def _same_or_both_refused(subject: Subject, spec: Spec, counted: Spec, length: int) -> None:
    one, other = _built(subject, spec, length), _built(subject, counted, length)
    if one is None and other is None:
        return
    if one is None or other is None:
        refused, taken = (spec, counted) if one is None else (counted, spec)
        fail(f"'{refused}' is refused in a run of {length} steps, and '{taken}', which says the same, is not: {_CURE}")
    if not same(one, other, length):
        values = exact_values([one, other], length)
        at = int(np.argmax(values[0] != values[1]))
        fail(
            f"'{spec}' gives {values[0][at]:g} at step {at} of {length}, and '{counted}', which says the same, "
            f"{values[1][at]:g}: {_CURE}"
        )


def _built(subject: Subject, spec: Spec, length: int) -> Schedule | None:
    try:
        return subject.build(spec, length)
    except LrtrainError:
        return None


def _share_options(subject: Subject) -> list[str]:
    return [name for name, hint in _hints(subject).items() if any(_is_share(form) for form in _forms(hint))]


def _check_share(subject: Subject, option: str) -> None:
    """A slightly larger share is the same number of steps, unless floats have rounded the first one down."""
    base = subject.specs[0]
    for percent in _ROUNDED_DOWN:
        share = percent / 100
        pair = [Spec(base.name, {**base.options, option: value}) for value in (share, share + 1e-12)]
        built = [each for spec in pair if (each := _built(subject, spec, 100)) is not None]
        if not built:
            continue
        values = exact_values(built, 100)
        if len(built) < 2 or not close(values[0], values[1]).all():
            fail(
                f"{option}={share} of 100 steps is fewer than {percent} in plugin '{subject.name}': "
                "use int(lrtrain.exact(share) * steps), since a product of floats is rounded down"
            )


def _hints(subject: Subject) -> dict[str, Any]:
    hints = typing.get_type_hints(subject.plugin, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(subject.plugin) if field.init}


def _forms(hint: Any) -> Iterator[Any]:
    """Yields the types that an option may have, those inside lists and tables left out."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        yield hint
        yield from _forms(arguments[0])
    elif isinstance(hint, type) and origin is None:
        yield hint
    elif origin not in (list, tuple, dict):
        for each in arguments:
            yield from _forms(each)


def _is_share(form: Any) -> bool:
    if typing.get_origin(form) is not Annotated:
        return False
    extras = typing.get_args(form)[1:]
    return Ge(0) in extras and Le(1) in extras
