"""Every example in a docstring of lrtrain runs and shows what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import lrtrain

# Importing it runs the command.
NOT_IMPORTED = {"lrtrain.__main__"}
# What a user reads first; an example there is wanted, not only right where there is one.
WITH_EXAMPLES = {
    "lrtrain.plugins.context.ScheduleContext.steps",
    "lrtrain.plugins.duration.Duration",
    "lrtrain.schedules.export.api.export",
    "lrtrain.plugins.formula.Piece",
    "lrtrain.schedules.table.schedule",
    "lrtrain.plugins.spec.Spec.of",
}


def modules() -> Iterator[str]:
    yield "lrtrain"
    for module in pkgutil.walk_packages(lrtrain.__path__, "lrtrain."):
        if module.name not in NOT_IMPORTED:
            yield module.name


def examples(name: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", list(modules()))
def test_examples(name: str) -> None:
    runner = doctest.DocTestRunner(verbose=False)
    said: list[str] = []
    for test in examples(name):
        runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)


def test_the_examples_that_are_wanted_are_found() -> None:
    found = {test.name for name in modules() for test in examples(name)}
    assert found >= WITH_EXAMPLES


def test_a_wrong_example_fails() -> None:
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=lambda text: None)
    assert runner.failures == 1
