"""The class that the author of a plugin inherits from: a test for each check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from lrtrain.testing.subject import Provided, Subject
from lrtrain.testing.workloads import declared, examples, rules, training
from lrtrain.testing.workloads.subject import WorkloadSubject

_subject = cache(Subject)
_workload = cache(WorkloadSubject)


def _overridden(cls: type[_Suite]) -> list[str]:
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


def _unknown(cls: type[_Suite]) -> list[str]:
    """Returns the attributes of a class that the suite does not know; methods and fixtures may be added."""
    known = [name for base in _suites(cls) for name in base.__annotations__]
    return [
        f"sets '{name}', which the suite does not have{nearest(name, known)}; it has {', '.join(known)}"
        for name, value in vars(cls).items()
        if not (name in known or name.startswith("_") or name == "pytestmark" or callable(value))
        and not isinstance(value, staticmethod | classmethod | property)
    ]


def _suites(cls: type[_Suite]) -> list[type]:
    return [base for base in reversed(cls.__mro__) if base.__module__ == __name__]


def _test_of(check: Check) -> Callable[[_Suite], None]:
    def test(self: _Suite) -> None:
        __tracebackhide__ = True
        self._run(check)

    test.__name__, test.__doc__ = f"test_{check.__name__}", check.__doc__
    return test


class _Suite:
    """What the suites share: a test of theirs cannot be replaced by accident."""

    overrides: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses a test that is replaced without a reason, and an attribute that does nothing."""
        super().__init_subclass__(**kwargs)
        for problem in (*_overridden(cls), *_unknown(cls)):
            raise TypeError(f"{cls.__name__} {problem}")

    def _subject(self) -> Provided:
        raise NotImplementedError

    def _run(self, check: Check) -> None:
        __tracebackhide__ = True
        try:
            run(check, self._subject())
        except NotApplicable as reason:
            pytest.skip(str(reason))

    def _named(self, what: str) -> str:
        """Returns the value of an attribute that must be given."""
        __tracebackhide__ = True
        name = getattr(self, what, None)
        assert name, f"{type(self).__name__} tests no {what}: give it {what} = 'name'"
        return str(name)


class PluginSuite(_Suite):
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

    def _subject(self) -> Provided:
        return _subject(self._named("plugin"))

    test_discovered = _test_of(loading.discovered)
    test_loads_alone = _test_of(loading.loads_alone)
    test_hooks_are_right = _test_of(hooks.hooks_are_right)
    test_imports_nothing_heavy = _test_of(loading.imports_nothing_heavy)
    test_imports_fast = _test_of(loading.imports_fast)
    test_touches_nothing_on_import = _test_of(loading.touches_nothing_on_import)
    test_is_documented = _test_of(documentation.is_documented)
    test_readme_has_the_options = _test_of(documentation.readme_has_the_options)
    test_examples_run = _test_of(documentation.examples_run)
    test_unknown_options_are_refused = _test_of(refusals.unknown_options_are_refused)
    test_wrong_types_are_refused = _test_of(refusals.wrong_types_are_refused)


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

    def _subject(self) -> Provided:
        assert not isinstance(self.specs, str), f"specs is the text {self.specs!r}: give a tuple of specs"
        return _subject(self._named("plugin"), tuple(map(str, self.specs)), every_length=self.every_length)

    test_builds_one_schedule = _test_of(hooks.builds_one_schedule)
    test_has_a_formula_or_a_reference = _test_of(documentation.has_a_formula_or_a_reference)
    test_every_value_is_usable = _test_of(values.every_value_is_usable)
    test_traits_hold = _test_of(values.traits_hold)
    test_same_eager_compiled_and_mapped = _test_of(modes.same_eager_compiled_and_mapped)
    test_same_for_every_kind_of_count = _test_of(modes.same_for_every_kind_of_count)
    test_traced_once = _test_of(modes.traced_once)
    test_two_builds_agree = _test_of(determinism.two_builds_agree)
    test_two_processes_agree = _test_of(determinism.two_processes_agree)
    test_boundaries_are_exact = _test_of(boundaries.boundaries_are_exact)
    test_shares_are_exact = _test_of(durations.shares_are_exact)
    test_formula_agrees = _test_of(formulas.formula_agrees)
    test_drawn_options_are_safe = _test_of(drawn.drawn_options_are_safe)


class WorkloadSuite(_Suite):
    """Tests that every workload passes, for your own class to inherit.

    A check that fails says in one sentence what is wrong. The checks train for a few steps on a few batches, so a small
    workload is tested in seconds. A test cannot be replaced by accident, as in `PluginSuite`.

    Attributes:
      workload: the workload's name, or ``name(option=value)``.
      overrides: why a test of the suite is replaced, by its name.

    Example:
      >>> from lrtrain.testing import WorkloadSuite
      >>> class TestFashionMnistCnn(WorkloadSuite):
      ...     workload = "fashion-mnist-cnn"
    """

    workload: ClassVar[str]

    def _subject(self) -> Provided:
        return _workload(self._named("workload"))

    test_discovered = _test_of(loading.discovered)
    test_loads_alone = _test_of(loading.loads_alone)
    test_is_a_workload = _test_of(declared.is_a_workload)
    test_defaults_are_valid = _test_of(declared.defaults_are_valid)
    test_data_can_be_used = _test_of(examples.data_can_be_used)
    test_network_can_be_used = _test_of(rules.network_can_be_used)
    test_imports_nothing_heavy = _test_of(loading.imports_nothing_heavy)
    test_imports_fast = _test_of(loading.imports_fast)
    test_touches_nothing_on_import = _test_of(loading.touches_nothing_on_import)
    test_is_documented = _test_of(documentation.is_documented)
    test_readme_has_the_options = _test_of(documentation.readme_has_the_options)
    test_examples_run = _test_of(documentation.examples_run)
    test_unknown_options_are_refused = _test_of(refusals.unknown_options_are_refused)
    test_wrong_types_are_refused = _test_of(refusals.wrong_types_are_refused)
    test_data_is_the_same_each_time = _test_of(examples.data_is_the_same_each_time)
    test_labels_are_classes = _test_of(rules.labels_are_classes)
    test_every_example_is_measured = _test_of(rules.every_example_is_measured)
    test_examples_are_independent = _test_of(rules.examples_are_independent)
    test_inputs_are_pure = _test_of(rules.inputs_are_pure)
    test_augment_is_pure = _test_of(rules.augment_is_pure)
    test_loss_falls = _test_of(training.loss_falls)
    test_training_is_resumed_exactly = _test_of(training.training_is_resumed_exactly)
    test_devices_change_nothing = _test_of(training.devices_change_nothing)
