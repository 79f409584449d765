"""What is checked, with the results that its checks share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from lrtrain.errors import LrtrainError, cause
from lrtrain.plugins.context import Schedule, Traits
from lrtrain.plugins.discovery import GROUP, WORDS, Entry, find_plugin, find_plugins
from lrtrain.plugins.loading import ActivePlugins, activate, hooks_of, load_class
from lrtrain.plugins.options import make
from lrtrain.plugins.spec import Spec, normal_name
from lrtrain.testing.failure import CheckFailed, fail

if TYPE_CHECKING:
    from concurrent.futures import Future

    import numpy as np
    from numpy.typing import NDArray

LENGTHS = (1, 2, 3, 7, 235, 2350, 1_000_000)
"""The lengths of run, in steps, that every schedule is evaluated for."""
_USUAL = (235, 2350, 1_000_000, 7, 3, 2, 1)
_STEPS_PER_EPOCH = 47


class Provided:
    """What an entry point provides, under check: a plugin, or a workload."""

    group: ClassVar[str] = GROUP
    inside: ClassVar[str] = "a hook"
    """Where its work is to be done."""
    needs: ClassVar[tuple[str, ...]] = ()
    """The modules of lrtrain that it imports in any case, beside those of every plugin."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.probes: dict[int, Mapping[str, Any]] = {}

    @property
    def title(self) -> str:
        """How errors name it, such as ``plugin 'sgdr'``."""
        return f"{WORDS[self.group]} '{self.name}'"

    @cached_property
    def entry(self) -> Entry:
        """What its distribution declares."""
        return find_plugin(self.name, self.group)

    @cached_property
    def plugin(self) -> type:
        """Its class."""
        return load_class(self.entry)


class Subject(Provided):
    """A plugin under check.

    Args:
      name: the plugin's name.
      specs: further examples of it, with options; the bare name is always one.
      every_length: whether long schedules too are compiled for every length from 1 to 512, which takes a minute.
    """

    def __init__(self, name: str, specs: Sequence[str] = (), *, every_length: bool = False) -> None:
        super().__init__(normal_name(name))
        self.every_length = every_length
        self.elsewhere: Future[list[str]] | None = None
        self._examples = tuple(map(Spec.of, specs))
        self._active: dict[str, ActivePlugins] = {}
        self._tables: dict[tuple[str, int], NDArray[np.float32]] = {}
        self._rates: dict[tuple[str, int], Schedule] = {}

    @property
    def builds_schedule(self) -> bool:
        """Whether it is a schedule, not only an observer."""
        return "build_schedule" in hooks_of(self.plugin)

    @cached_property
    def traits(self) -> Traits:
        """The traits that the plugin declares, or the defaults."""
        traits = getattr(self.plugin, "traits", Traits())
        if not isinstance(traits, Traits):
            fail(f"the traits of plugin '{self.name}' are {traits!r}: give traits: ClassVar[Traits] = Traits(...)")
        return traits

    @cached_property
    def missing_parts(self) -> list[str]:
        """The plugins that the default options name and that are not installed."""
        installed = {entry.name for entry in find_plugins()}
        defaults = vars(make(self.plugin, f"plugin '{self.name}'", {}))
        named = {normal_name(spec.name) for value in defaults.values() for spec in specs_in(value)}
        return sorted(named - installed)

    @cached_property
    def specs(self) -> tuple[Spec, ...]:
        """The bare name, unless its defaults name plugins that are not installed, and the examples."""
        for spec in self._examples:
            if normal_name(spec.name) != self.name:
                fail(f"specs has '{spec}', which is no example of plugin '{self.name}': give specs of it alone")
        bare = () if self.missing_parts else (Spec(self.name),)
        return bare + self._examples

    def active(self, spec: Spec) -> ActivePlugins:
        """Returns the plugin with these options, loaded once."""
        if str(spec) not in self._active:
            self._active[str(spec)] = activate([spec])
        return self._active[str(spec)]

    def build(self, spec: Spec, total_steps: int) -> Schedule:
        """Builds a schedule as the plugin returns it; an error that the plugin did not mean to raise is a failure."""
        from lrtrain.schedules.table import make_context, raw_schedule

        try:
            return raw_schedule(self.active(spec), make_context(total_steps, min(_STEPS_PER_EPOCH, total_steps)))
        except LrtrainError as error:
            _refuse_a_bug(spec, f"in a run of {total_steps} steps", error)
            raise

    def builds(self, spec: Spec, total_steps: int) -> bool:
        """Returns whether the schedule can be built for a run of this length."""
        try:
            self.build(spec, total_steps)
        except LrtrainError:
            return False
        return True

    def table(self, spec: Spec, total_steps: int) -> NDArray[np.float32]:
        """Returns the learning rates that a run applies, computed once."""
        from lrtrain.schedules.table import tabulate

        key = str(spec), total_steps
        if key not in self._tables:
            built = self.build(spec, total_steps)
            try:
                self._tables[key] = tabulate(built, total_steps, self.name)
            except LrtrainError as error:
                raise CheckFailed(f"'{spec}' in a run of {total_steps} steps: {error}") from error
        return self._tables[key]

    def rate(self, spec: Spec, total_steps: int) -> Schedule:
        """Returns what `lrtrain.schedule` returns for it, built once."""
        from lrtrain.schedules.table import schedule

        key = str(spec), total_steps
        if key not in self._rates:
            self._rates[key] = schedule(
                spec, total_steps=total_steps, steps_per_epoch=min(_STEPS_PER_EPOCH, total_steps)
            )
        return self._rates[key]

    def usual_length(self, spec: Spec) -> int:
        """Returns the length of run for the closer checks of a spec: 235 steps if it can be built for that."""
        for total_steps in _USUAL:
            if self.builds(spec, total_steps):
                return total_steps
        return fail(
            f"'{spec}' is refused for every run of {', '.join(map(str, sorted(_USUAL)))} steps: correct the spec"
        )

    def looked_at(self) -> Iterator[tuple[Spec, int]]:
        """Yields each spec with the length of run for its closer checks."""
        for spec in self.specs:
            yield spec, self.usual_length(spec)


def specs_in(value: Any) -> Iterator[Spec]:
    """Yields the specs that the value of an option holds."""
    if isinstance(value, Spec):
        yield value
        value = list(value.options.values())
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from specs_in(each)


def _refuse_a_bug(spec: Spec, where: str, error: LrtrainError) -> None:
    """Fails when the cause of an error is one that the plugin did not mean to raise."""
    bug = error.__cause__
    while isinstance(bug, LrtrainError):
        bug = bug.__cause__
    if bug is not None:
        fail(
            f"'{spec}' {where} ends in {cause(bug)}: refuse what cannot be built with a ScheduleError "
            "that names the option and its value"
        )
