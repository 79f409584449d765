"""The class that the author of a plugin inherits from: a test for each check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import pytest

from lrtrain.errors import nearest
from lrtrain.testing.checks import FIRST, OF_ANY, OF_SCHEDULES, Check, run
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


def _test_of(check: Check) -> Callable[[PluginSuite], None]:
    def test(self: PluginSuite) -> None:
        __tracebackhide__ = True
        self._run(check)

    test.__name__, test.__doc__ = f"test_{check.__name__}", check.__doc__
    return test


for _suite, _checks in ((PluginSuite, FIRST + OF_ANY), (SchedulePluginSuite, OF_SCHEDULES)):
    for _check in _checks:
        setattr(_suite, f"test_{_check.__name__}", _test_of(_check))
