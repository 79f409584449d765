"""Commands for a run, or a comparison, that is there: the one that trains it again, and the one that continues it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from lrtrain.errors import LrtrainError
from lrtrain.option_fields import option_fields
from lrtrain.plugins.discovery import DEFAULT_WORKLOAD, IN_PYTHON, find_plugin
from lrtrain.plugins.spec import Spec, file_and_class, format_value, parse_spec
from lrtrain.runs.record import Head, Run
from lrtrain.runs.train_config import WORKLOADS_OWN, TrainConfig

Kind: TypeAlias = Literal["run", "comparison"]


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
    if head.train.workload.startswith(IN_PYTHON):
        return Recipe((), "its workload was made in Python")
    specs = [_brief(spec, head) for spec in head.plugins]
    if any(parse_spec(str(spec)) != spec for spec in specs):
        return Recipe((), "an option of its plugin cannot be written on a command line")
    plugins = [word for spec in specs for word in ("--plugin", str(spec))]
    return Recipe(("lrtrain", *plugins, *train_options(head.train)))


def train_options(config: TrainConfig) -> Iterator[str]:
    """Yields the words of ``lrtrain train`` for all options that are not at their defaults.

    Another workload has defaults of its own, so the options that it may decide are all given.
    """
    own = WORKLOADS_OWN if config.workload != DEFAULT_WORKLOAD else ()
    for field in option_fields(TrainConfig):
        value = getattr(config, field.name)
        yield from (field.flag, str(value)) if field.name in own else field.words(value)


def _brief(spec: Spec, head: Head) -> Spec:
    """Returns a spec without options at their defaults, if the plugin is installed in the version of the run."""
    from lrtrain.plugins.loading import load_class
    from lrtrain.plugins.options import options_of

    # A file is not imported only because a run names it.
    if file_and_class(spec.name) is not None:
        return spec
    # Of another workload the learning rates that are left out would be multiplied.
    if head.train.workload != DEFAULT_WORKLOAD:
        return spec
    try:
        entry = find_plugin(spec.name)
        if head.versions.get(entry.distribution) != entry.version:
            return spec
        defaults = {option.name: option.default for option in options_of(load_class(entry))}
    except LrtrainError:
        return spec
    given = {name: value for name, value in spec.options.items() if format_value(value) != defaults.get(name)}
    return Spec(spec.name, given)


def how_to_go_on(directory: str | Path | None, kind: Kind = "run", *options: str, command: str | None = None) -> str:
    """Returns which command continues what has ended early, as the second half of a sentence.

    ``directory`` is None if it has no files yet, and ``command`` None for that of a single process.

    Example:
      >>> how_to_go_on("runs/my run")
      "lrtrain --resume --run-dir 'runs/my run' continues the run"
    """
    if directory is None:
        return "nothing has been trained yet"
    return f"{resume_command(directory, kind, *options, command=command)} continues the {kind}"


def resume_command(directory: str | Path, kind: Kind = "run", *options: str, command: str | None = None) -> str:
    """Returns the command that continues a run or a comparison; see `how_to_go_on`."""
    usual = {"run": "lrtrain", "comparison": "lrtrain compare"}
    return f"{command or usual[kind]} {shlex.join(['--resume', *options, '--run-dir', str(directory)])}"
