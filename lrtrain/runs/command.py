"""The command that trains a run again: what stands in its configuration, in the words of ``lrtrain train``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lrtrain.errors import LrtrainError
from lrtrain.option_fields import option_fields
from lrtrain.plugins.discovery import find_plugin
from lrtrain.plugins.spec import Spec, file_and_class, format_value, parse_spec
from lrtrain.runs.config import TrainConfig
from lrtrain.runs.record import Head, Run


@dataclass(frozen=True)
class Recipe:
    """How a run is trained again: the words of the command, or why there is no one command (None: there is)."""

    words: tuple[str, ...]
    obstacle: str | None = None


def reproduce(run: Run) -> Recipe:
    """Returns the command that gives the same configuration and plugins, without what is at its default."""
    head = run.head
    if head is None:
        return Recipe((), f"its configuration cannot be read: {run.reason}")
    if head.comparison is not None:
        return Recipe((), "it is a run of a comparison, which held out data or scaled the schedule for it")
    if not head.whole_schedule:
        return Recipe((), "it was resumed under another schedule or for another number of epochs than it began with")
    specs = [_brief(spec, head) for spec in head.plugins]
    if any(parse_spec(str(spec)) != spec for spec in specs):
        return Recipe((), "an option of its plugin cannot be written on a command line")
    plugins = [word for spec in specs for word in ("--plugin", str(spec))]
    return Recipe(("lrtrain", *plugins, *train_options(head.train)))


def train_options(config: TrainConfig) -> Iterator[str]:
    """Yields the words of ``lrtrain train`` for all that is not at its default."""
    for field in option_fields(TrainConfig):
        yield from field.words(getattr(config, field.name))


def _brief(spec: Spec, head: Head) -> Spec:
    """Leaves out the options at their defaults, where the plugin is installed in the version that the run had."""
    from lrtrain.plugins.loading import load_class
    from lrtrain.plugins.options import options_of

    try:
        if file_and_class(spec.name) is not None:
            # No file is imported because a run names it.
            return spec
        entry = find_plugin(spec.name)
        if head.versions.get(entry.distribution) != entry.version:
            return spec
        defaults = {option.name: option.default for option in options_of(load_class(entry))}
    except LrtrainError:
        return spec
    return Spec(
        spec.name, {name: value for name, value in spec.options.items() if format_value(value) != defaults.get(name)}
    )
