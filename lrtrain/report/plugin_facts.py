"""What a report says of a plugin, whether it is still installed or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtrain.errors import LrtrainError
from lrtrain.plugins.discovery import find_plugin
from lrtrain.plugins.spec import Spec, format_value

if TYPE_CHECKING:
    from lrtrain.runs.record import Head


def summary_of(spec: Spec) -> str:
    """Returns the one-line description of a plugin's package."""
    try:
        return find_plugin(spec.name).summary
    except LrtrainError:
        return "the plugin is not installed here"


def options_in_words(spec: Spec, head: Head | None) -> dict[str, str]:
    """Returns the value of each option: of all, where a run has noted them, else of those that were given."""
    options = head.schedule.options if head is not None else spec.options
    return {name: format_value(value) for name, value in options.items()}
