"""The check of a plugin's formula, an independent closed form of its table."""

from __future__ import annotations

from typing import Any

import numpy as np

from lrtrain.errors import PluginError
from lrtrain.plugins.formula import ask_formula, evaluate
from lrtrain.plugins.spec import Spec
from lrtrain.testing.boundaries import LONGEST, buildable, lengths_of
from lrtrain.testing.evaluation import exact_values
from lrtrain.testing.failure import NotApplicable, fail
from lrtrain.testing.subject import Subject


def formula_agrees(subject: Subject) -> None:
    """Its formula, where it has one, gives its table to a millionth."""
    if getattr(subject.plugin, "formula", None) is None:
        raise NotApplicable("it has no formula")
    for spec in subject.specs:
        for length in buildable(subject, spec, lengths_of(subject, spec)):
            _check(subject, spec, length)


def _check(subject: Subject, spec: Spec, length: int) -> None:
    steps = np.arange(length)
    expected = _formula(subject, spec, length, steps)
    (values,) = exact_values([subject.build(spec, length)], LONGEST)
    values = values[:length]
    wrong = ~(np.abs(values - expected) <= 1e-6 * np.abs(expected) + 1e-9 * np.max(np.abs(expected)))
    if wrong.any():
        at = int(np.argmax(wrong))
        fail(f"'{spec}' gives {values[at]:.9g} at step {at} of {length}, and its formula {expected[at]:.9g}")


def _formula(subject: Subject, spec: Spec, length: int, steps: Any) -> Any:
    from lrtrain.schedules.table import make_context

    instance = subject.active(spec).schedule_plugin().instance
    try:
        pieces = ask_formula(instance, subject.name, make_context(length, min(47, length)))
    except PluginError as error:
        fail(str(error))
    if pieces is None:
        raise NotApplicable("it has no formula for these options")
    return evaluate(pieces, steps)
