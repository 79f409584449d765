"""Checks of a plugin's class and its hooks."""

from __future__ import annotations

from lrtrain.errors import LrtrainError, PluginError
from lrtrain.testing.failure import fail, require
from lrtrain.testing.subject import Subject


def hooks_are_right(subject: Subject) -> None:
    """It is a frozen dataclass; its hooks have their names and arguments, and no defaults."""
    try:
        _ = subject.plugin, subject.traits
    except PluginError as error:
        fail(str(error))


def builds_one_schedule(subject: Subject) -> None:
    """Named alone, it builds exactly one schedule."""
    from lrtrain.schedules.table import make_context

    for spec, total_steps in subject.looked_at():
        subject.build(spec, total_steps)
        context = make_context(total_steps, min(47, total_steps))
        try:
            answers = subject.active(spec).manager.hook.build_schedule(context=context)
        except LrtrainError as error:
            fail(f"'{spec}' is built once, and fails the second time: {error}")
        count = len(answers)
        require(count == 1, f"'{spec}' answers build_schedule {count} times: give one schedule")
