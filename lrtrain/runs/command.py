"""The command that trains a run again: its configuration as options of ``lrtrain train``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lrtrain.errors import LrtrainError
from lrtrain.option_fields import option_fields
from lrtrain.plugins.discovery import find_plugin
from lrtrain.plugins.spec import Spec, file_and_class, format_value, parse_spec
from lrtrain.runs.record import Head, Run
from lrtrain.runs.train_config import TrainConfig


@dataclass(frozen=True)
class Recipe:
    """How a run is trained again: the words of the command, or why no single command does (None: one does)."""

    words: tuple[str, ...]
    obstacle: str | None = None


def reproduce(run: Run) -> Recipe:
    """Returns the command with the same configuration and plugins, without options at their defaults."""
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
    """Yields the words of ``lrtrain train`` for all options that are not at their defaults."""
    for field in option_fields(TrainConfig):
        yield from field.words(getattr(config, field.name))


def _brief(spec: Spec, head: Head) -> Spec:
    """Returns a spec without options at their defaults, if the plugin is installed in the version of the run."""
    from lrtrain.plugins.loading import load_class
    from lrtrain.plugins.options import options_of

    try:
        if file_and_class(spec.name) is not None:
            # A file is not imported only because a run names it.
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
