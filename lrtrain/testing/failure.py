"""How a check ends when it does not pass."""

from __future__ import annotations

from typing import NoReturn


class CheckFailed(AssertionError):  # noqa: N818  # a word of the test, as pytest has "failed"
    """A plugin fails a check: one sentence that says what is wrong, where, and what would be right."""


class NotApplicable(Exception):  # noqa: N818  # no error: a reason
    """A check does not apply to this plugin, for the reason given."""


def fail(sentence: str) -> NoReturn:
    """Fails a check with this sentence."""
    raise CheckFailed(sentence)


def require(condition: object, sentence: str) -> None:
    """Fails a check with this sentence unless the condition holds."""
    if not condition:
        fail(sentence)
