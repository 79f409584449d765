"""How a check ends when it does not pass."""

from __future__ import annotations

from typing import NoReturn


class CheckFailed(AssertionError):  # noqa: N818  # a word of the test, as pytest has "failed"
    """A plugin is not as it should be: one sentence that says what, where, and what would be right."""


class NotApplicable(Exception):  # noqa: N818  # no error: a reason
    """A check has nothing to look at in this plugin, for the reason given."""


def fail(sentence: str) -> NoReturn:
    """Ends a check."""
    raise CheckFailed(sentence)


def require(condition: object, sentence: str) -> None:
    """Ends a check with this sentence unless the condition holds."""
    if not condition:
        fail(sentence)
