"""Checks that wrong options are refused in one sentence."""

from __future__ import annotations

from typing import Any

from lrtrain.errors import LrtrainError, cause
from lrtrain.plugins.options import make, options_of
from lrtrain.testing.failure import fail, require
from lrtrain.testing.subject import Provided
from lrtrain.testing.values import is_one_sentence

_OF_EVERY_KIND: tuple[Any, ...] = (True, "no such value", -1.5, [[]], {"no such": {}}, None)


def unknown_options_are_refused(subject: Provided) -> None:
    """An option that it does not have is refused by name."""
    said = _refused(subject, "no_such_option", 1)
    require(said is not None, f"{subject.title} takes no_such_option=1: let its options be its fields alone")
    require("no_such_option" in str(said), f"{subject.title} refuses no_such_option with {said!r}: name it")


def wrong_types_are_refused(subject: Provided) -> None:
    """A value of a kind that an option does not take is refused, and the sentence names the option."""
    for option in options_of(subject.plugin):
        said = [_refused(subject, option.name, value) for value in _OF_EVERY_KIND]
        require(any(said), f"option '{option.name}' of {subject.title} takes anything: give it a type")
        for sentence in filter(None, said):
            named = option.name in sentence and is_one_sentence(sentence)
            require(named, f"a wrong {option.name} is refused with {sentence!r}: write one sentence that names it")


def _refused(subject: Provided, option: str, value: Any) -> str | None:
    """Returns the sentence with which a value is refused, or None when it is taken."""
    try:
        make(subject.plugin, subject.title, {option: value})
    except LrtrainError as error:
        if error.__cause__ is not None and not isinstance(error.__cause__, ValueError):
            fail(f"{option}={value!r} ends in {cause(error.__cause__)}: raise a ValueError with one sentence")
        return str(error)
    return None
