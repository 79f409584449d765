"""The class that the author of a plugin inherits from: a test for each check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import pytest

from lrtrain.errors import nearest
from lrtrain.testing import (
    boundaries,
    determinism,
    documentation,
    drawn,
    durations,
    formulas,
    hooks,
    loading,
    modes,
    refusals,
    values,
)
from lrtrain.testing.checks import Check, run
from lrtrain.testing.failure import NotApplicable
from lrtrain.testing.subject import Subject

_subject = cache(Subject)


def _overridden(cls: type[PluginSuite]) -> list[str]:
    """Returns what is wrong with the tests of the suite that a class replaces, itself or by another base."""
    tests = {name: test for base in _suites(cls) for name, test in vars(base).items() if name.startswith("test_")}
    replaced = [name for name, test in tests.items() if getattr(cls, name) is not test]
    silent = [
        f"replaces {name} of the suite: say why in overrides = {{'{name}': 'the reason'}}, or give it another name"
        for name in replaced
        if not str(cls.overrides.get(name, "")).strip()
    ]
    idle = [
        f"says in overrides why it replaces {name}, and does not{'' if name in tests else nearest(name, list(tests))}"
        for name in cls.overrides
        if name not in replaced
    ]
    return silent + idle


def _unknown(cls: type[PluginSuite]) -> list[str]:
    """Returns the attributes of a class that the suite does not know; methods and fixtures may be added."""
    known = [name for base in _suites(cls) for name in base.__annotations__]
    return [
        f"sets '{name}', which the suite does not have{nearest(name, known)}; it has {', '.join(known)}"
        for name, value in vars(cls).items()
        if not (name in known or name.startswith("_") or name == "pytestmark" or callable(value))
        and not isinstance(value, staticmethod | classmethod | property)
    ]


def _suites(cls: type[PluginSuite]) -> list[type]:
    return [base for base in reversed(cls.__mro__) if base.__module__ == __name__]


class PluginSuite:
    """Tests that every plugin passes, for your own class to inherit; schedules have `SchedulePluginSuite`.

    A check that fails says in one sentence what is wrong. A test of the suite cannot be replaced by accident: one that
    the class redefines fails, unless ``overrides`` says why, and so does an attribute that the suite does not have.

    Attributes:
      plugin: the plugin's name.
      overrides: why a test of the suite is replaced, by its name.

    Example:
      >>> from lrtrain.testing import PluginSuite
      >>> class TestEarlyStopping(PluginSuite):
      ...     plugin = "early-stopping"
    """

    plugin: ClassVar[str]
    overrides: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses a test that is replaced without a reason, and an attribute that does nothing."""
        super().__init_subclass__(**kwargs)
        for problem in (*_overridden(cls), *_unknown(cls)):
            raise TypeError(f"{cls.__name__} {problem}")

    def _subject(self, name: str) -> Subject:
        return _subject(name)

    def _run(self, check: Check) -> None:
        __tracebackhide__ = True
        name = getattr(self, "plugin", None)
        assert name, f"{type(self).__name__} tests no plugin: give it plugin = 'name'"
        try:
            run(check, self._subject(name))
        except NotApplicable as reason:
            pytest.skip(str(reason))

    def test_discovered(self) -> None:
        """One installed distribution provides it, by an entry point."""
        self._run(loading.discovered)

    def test_loads_alone(self) -> None:
        """It is imported in a fresh process, and no other plugin with it."""
        self._run(loading.loads_alone)

    def test_hooks_are_right(self) -> None:
        """It is a frozen dataclass; its hooks have their names and arguments, and no defaults."""
        self._run(hooks.hooks_are_right)

    def test_imports_nothing_heavy(self) -> None:
        """Importing it imports no slow library, for which lists and errors would have to wait."""
        self._run(loading.imports_nothing_heavy)

    def test_imports_fast(self) -> None:
        """Importing it takes no longer than importing lrtrain; the best of three times, each in a fresh process."""
        self._run(loading.imports_fast)

    def test_touches_nothing_on_import(self) -> None:
        """Importing it opens no connection, starts no process, uses no device and prints nothing."""
        self._run(loading.touches_nothing_on_import)

    def test_is_documented(self) -> None:
        """The class has a docstring that begins with a sentence, and every option says what it means."""
        self._run(documentation.is_documented)

    def test_readme_has_the_options(self) -> None:
        """The README of its package, where it has one, lists every option with its type, default and meaning."""
        self._run(documentation.readme_has_the_options)

    def test_examples_run(self) -> None:
        """The examples in its docstrings give the output that they show."""
        self._run(documentation.examples_run)

    def test_unknown_options_are_refused(self) -> None:
        """An option that it does not have is refused by name."""
        self._run(refusals.unknown_options_are_refused)

    def test_wrong_types_are_refused(self) -> None:
        """A value of a kind that an option does not take is refused, and the sentence names the option."""
        self._run(refusals.wrong_types_are_refused)


class SchedulePluginSuite(PluginSuite):
    """Tests that every plugin with a schedule passes, those of `PluginSuite` among them.

    Attributes:
      plugin: the plugin's name.
      specs: further examples of the plugin, with options; the bare name is always tested.
      overrides: why a test of the suite is replaced, by its name.
      every_length: whether schedules of many operations too are compiled for every length of run from 1 to 512, which
        takes a minute; otherwise they are for some of them.

    Example:
      >>> from lrtrain.testing import SchedulePluginSuite
      >>> class TestSgdr(SchedulePluginSuite):
      ...     plugin = "sgdr"
      ...     specs = ("sgdr(cycles=4)", "sgdr(cycles=1, peak_value=1e-3)")
    """

    specs: ClassVar[Sequence[str]] = ()
    every_length: ClassVar[bool] = False

    def _subject(self, name: str) -> Subject:
        assert not isinstance(self.specs, str), f"specs is the text {self.specs!r}: give a tuple of specs"
        return _subject(name, tuple(map(str, self.specs)), every_length=self.every_length)

    def test_builds_one_schedule(self) -> None:
        """Named alone, it builds exactly one schedule."""
        self._run(hooks.builds_one_schedule)

    def test_has_a_formula_or_a_reference(self) -> None:
        """The docstring of a schedule gives its formula, or says where it comes from."""
        self._run(documentation.has_a_formula_or_a_reference)

    def test_every_value_is_usable(self) -> None:
        """Every learning rate is finite and not negative, over runs of 1 to a million steps."""
        self._run(values.every_value_is_usable)

    def test_traits_hold(self) -> None:
        """What the plugin declares as its traits is true of its defaults."""
        self._run(values.traits_hold)

    def test_same_eager_compiled_and_mapped(self) -> None:
        """Called one by one, under jit and under vmap, it gives what its table says."""
        self._run(modes.same_eager_compiled_and_mapped)

    def test_same_for_every_kind_of_count(self) -> None:
        """It takes Python's integers, int32 and uint32, and int64 where JAX has 64 bits."""
        self._run(modes.same_for_every_kind_of_count)

    def test_traced_once(self) -> None:
        """Compiled, it is traced once for all counts; called without jit, it compiles nothing again."""
        self._run(modes.traced_once)

    def test_two_builds_agree(self) -> None:
        """Built again, from all its options as a run writes them down, it has the same bits."""
        self._run(determinism.two_builds_agree)

    def test_two_processes_agree(self) -> None:
        """Another process has the same bits."""
        self._run(determinism.two_processes_agree)

    def test_boundaries_are_exact(self) -> None:
        """Compiled in float32, it changes at the same steps as in float64, whatever the length of the run."""
        self._run(boundaries.boundaries_are_exact)

    def test_shares_are_exact(self) -> None:
        """A share gives the same as its exact number of steps: 25% of T is T // 4, and 29% of 100 steps is 29."""
        self._run(durations.shares_are_exact)

    def test_formula_agrees(self) -> None:
        """Its formula, where it has one, gives its table to a millionth."""
        self._run(formulas.formula_agrees)

    def test_drawn_options_are_safe(self) -> None:
        """Whatever its options, there is one sentence, or learning rates that are finite and not negative."""
        self._run(drawn.drawn_options_are_safe)
