"""The checks of plugins: each one finds the plugin that breaks it, and the suite cannot be disabled by accident."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lrtrain.errors import LrtrainError
from lrtrain.plugins.discovery import find_plugins
from lrtrain.plugins.loading import hooks_of, load_class
from lrtrain.testing import CheckFailed, PluginSuite, SchedulePluginSuite, table
from lrtrain.testing.boundaries import boundaries_are_exact
from lrtrain.testing.checks import CHECKS, FIRST, OF_ANY, OF_SCHEDULES, outcomes, run
from lrtrain.testing.subject import Subject
from tests.lab import cli

BROKEN_PLUGINS = Path(__file__).parents[1] / "broken_plugins"
BROKEN = [
    ("entry", "discovered", "the entry point of plugin 'broken-entry' is 'broken_schedules': write module:Class"),
    ("import", "loads_alone", "plugin 'broken-import' fails to import: RuntimeError: the licence has expired"),
    ("heavy", "imports_nothing_heavy", "imports jax when it is imported: import it inside the function"),
    ("heavy", "imports_fast", "takes .* seconds to import, where lrtrain takes .*: do the work in a hook"),
    ("heavy", "touches_nothing_on_import", "uses a device when it is imported: do that in a hook"),
    ("noise", "loads_alone", "imports plugin 'constant': name it in a spec, for context.build"),
    ("noise", "touches_nothing_on_import", r"reaches outside when it is imported \(socket.getaddrinfo\)"),
    ("default", "hooks_are_right", "gives 'context' of build_schedule a default, which would never be used"),
    ("undocumented", "is_documented", "class Undocumented has no docstring: say in one line what it does"),
    ("undocumented", "has_a_formula_or_a_reference", "has neither a formula nor a reference"),
    ("untyped", "wrong_types_are_refused", "option 'value' .* takes anything: give it a type"),
    ("share", "readme_has_the_options", r"the README of broken-plugins lacks the row \| `drop` \|"),
    ("example", "examples_run", "an example of plugin 'broken-example' is wrong: .*0.2.*0.1"),
    ("once", "builds_one_schedule", "'broken-once' answers build_schedule 0 times: give one schedule"),
    ("nan", "every_value_is_usable", "in a run of 2350 steps: .* gives nan at step 2001"),
    (
        "short",
        "every_value_is_usable",
        "in a run of 1 steps ends in ZeroDivisionError: .*: refuse what cannot",
    ),
    ("traits", "traits_hold", r"say may_rise=True, and it never rises in runs of \[7, 235, 2350\] steps"),
    ("tracer", "same_eager_compiled_and_mapped", "'broken-tracer' called with one count gives 0.2.* and its table 0.1"),
    ("overflow", "same_eager_compiled_and_mapped", "called with one count gives .* at step 117, and its table"),
    ("overflow", "same_for_every_kind_of_count", "called with int gives .* at step 117, and its table"),
    ("recompiled", "traced_once", "is compiled again for each call without jit"),
    ("random", "two_builds_agree", "built twice has two curves: a schedule depends on its options and"),
    ("random", "two_processes_agree", "has another curve in another process"),
    ("late", "boundaries_are_exact", "in float64: count in whole numbers, as in count // steps"),
    ("share", "shares_are_exact", r"drop=0.29 of 100 steps is fewer than 29 .*lrtrain.exact\(share\)"),
    ("duration", "shares_are_exact", "gives 0.1 at step .*, and 'broken-duration.*', which says the same, 0.05"),
    ("formula", "formula_agrees", "gives 0.1 at step [1-9].*, and its formula 0.0999"),
    ("crash", "drawn_options_are_safe", "scale=0.* ends in ZeroDivisionError: float division by zero: refuse what"),
]


@pytest.fixture(autouse=True)
def broken_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BROKEN_PLUGINS))


def named(check: str):
    (found,) = [each for each in CHECKS if each.__name__ == check]
    return found


@pytest.mark.parametrize(("name", "check", "sentence"), BROKEN, ids=[f"{name}-{check}" for name, check, _ in BROKEN])
def test_what_each_check_finds(name: str, check: str, sentence: str) -> None:
    with pytest.raises(CheckFailed, match=sentence):
        run(named(check), Subject(f"broken-{name}"))


def test_the_other_process_that_begins_early_finds_the_same() -> None:
    states = {each.check: each.state for each in outcomes(Subject("broken-random"))}
    assert states["two_processes_agree"] == states["two_builds_agree"] == "failed"
    assert states["builds_one_schedule"] == "passed"


def test_every_check_finds_something() -> None:
    # Core refuses an option that is no field before the plugin sees it: no plugin can break this one.
    never = {"unknown_options_are_refused"}
    assert {check for _, check, _ in BROKEN} == {check.__name__ for check in CHECKS} - never


def test_a_class_that_takes_any_option_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrtrain.testing.refusals.make", lambda *_: object())
    with pytest.raises(CheckFailed, match="takes no_such_option=1: let its options be its fields alone"):
        run(named("unknown_options_are_refused"), Subject("constant"))


def test_a_plugin_that_is_not_there_is_not_discovered() -> None:
    first, *others = outcomes(Subject("no-such"))
    assert (first.check, first.state) == ("discovered", "failed")
    assert first.reason.startswith("no plugin 'no-such' is installed")
    assert {each.state for each in others} == {"skipped"}
    assert {each.reason for each in others} == {"discovered has failed"}


def test_the_suite_has_a_test_for_every_check() -> None:
    of_any = [name for name in vars(PluginSuite) if name.startswith("test_")]
    of_schedules = [name for name in vars(SchedulePluginSuite) if name.startswith("test_")]
    assert of_any == [f"test_{check.__name__}" for check in FIRST + OF_ANY]
    assert of_schedules == [f"test_{check.__name__}" for check in OF_SCHEDULES]


# ---------------------------------------------------------------------------------------------------------- the class


def test_a_test_that_is_replaced_needs_a_reason() -> None:
    def replaced(self) -> None: ...

    with pytest.raises(TypeError, match="TestIt replaces test_discovered of the suite: say why in overrides"):
        type("TestIt", (SchedulePluginSuite,), {"plugin": "x", "test_discovered": replaced})
    reason = {"test_discovered": "it is found in another way"}
    type("TestIt", (SchedulePluginSuite,), {"plugin": "x", "test_discovered": replaced, "overrides": reason})


def test_a_test_that_another_base_replaces_needs_a_reason_too() -> None:
    mixin = type("Mixin", (), {"test_discovered": None})
    with pytest.raises(TypeError, match="TestIt replaces test_discovered of the suite"):
        type("TestIt", (mixin, SchedulePluginSuite), {"plugin": "x"})


@pytest.mark.parametrize(("attributes", "sentence"), [
    ({"overrides": {"test_discoverd": "why"}}, "why it replaces test_discoverd, and does not .*'test_discovered'"),
    ({"overrides": {"test_discovered": "why"}}, "says in overrides why it replaces test_discovered, and does not"),
    ({"plugn": "x"}, r"sets 'plugn', which the suite does not have \(did you mean 'plugin'\?\)"),
    ({"spec": ("x(a=1)",)}, r"sets 'spec', which the suite does not have \(did you mean 'specs'\?\)"),
])  # fmt: skip
def test_what_does_nothing_is_refused(attributes: dict, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        type("TestIt", (SchedulePluginSuite,), {"plugin": "x", **attributes})


def test_examples_are_for_schedules() -> None:
    with pytest.raises(TypeError, match="sets 'specs', which the suite does not have; it has overrides, plugin"):
        type("TestIt", (PluginSuite,), {"plugin": "x", "specs": ("x(a=1)",)})


def test_specs_of_another_plugin_are_refused() -> None:
    with pytest.raises(CheckFailed, match=r"specs has 'linear', which is no example of plugin 'constant'"):
        run(named("builds_one_schedule"), Subject("constant", ["linear"]))


# -------------------------------------------------------------------------------------------------------- the command


def check(*arguments: str) -> tuple[int, str]:
    done = cli("plugins", "check", *arguments)
    return done.exit_code, done.output


def test_the_command_says_what_failed_and_why() -> None:
    code, output = check("broken-default")
    assert code == 1
    assert "broken-default  (broken-plugins 1.0)" in output
    assert "failed   hooks are right: plugin 'broken-default' of broken-plugins 1.0 gives 'context'" in output
    assert f"{len(FIRST) - 1} passed, 1 failed, {len(CHECKS) - len(FIRST)} skipped" in output


def test_the_command_gives_json() -> None:
    code, output = check("broken-import", "--json")
    shown = json.loads(output)
    assert code == 1
    assert shown["plugin"] == "broken-import"
    assert [each["state"] for each in shown["checks"][:2]] == ["passed", "failed"]


def test_the_command_passes_a_plugin_that_is_right() -> None:
    code, output = check("constant", "--spec", "constant(value=0.5)")
    assert code == 0, output
    assert " 0 failed, " in output


def test_no_such_plugin() -> None:
    code, output = check("sgrd")
    assert code == 2
    assert "no plugin 'sgrd' is installed (did you mean 'sgdr'?)" in output


# ----------------------------------------------------------------------------------------------------- without extras


def test_the_checks_need_neither_pytest_nor_hypothesis_and_the_suite_says_so() -> None:
    code = """
import importlib.util, sys
sys.modules["pytest"] = sys.modules["hypothesis"] = None
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in ("pytest", "hypothesis") else find(name, *rest)
import lrtrain.testing.checks
try:
    from lrtrain.testing import SchedulePluginSuite
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    said = "lrtrain.testing needs pytest and hypothesis: run `pip install 'lrtrain[testing]'`"
    assert done.stdout.strip() == said


# --------------------------------------------------------------------------------------------------------- every length


def schedules() -> list[str]:
    return [entry.name for entry in find_plugins() if "build_schedule" in hooks_of(load_class(entry))]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", schedules())
def test_boundaries_for_every_length(name: str) -> None:
    run(boundaries_are_exact, Subject(name, every_length=True))


# --------------------------------------------------------------------------------------------------------- the values


def test_the_table_is_what_a_run_applies() -> None:
    """A straight line by NumPy, in a run of the usual 100 steps and in one whose epochs count."""
    spec = "linear(init_value=1, end_value=0, transition_begin=0, transition_steps={})"
    values = table(spec.format("50%"))
    assert (values.dtype, values.shape) == (np.float32, (100,))
    np.testing.assert_array_equal(values, np.interp(np.arange(100), [0, 50], [1, 0]).astype(np.float32))
    np.testing.assert_array_equal(table(spec.format("2ep"), 30, steps_per_epoch=5), table(spec.format(10), 30))


@pytest.mark.parametrize(
    ("spec", "total_steps", "said"),
    [
        ("linear(", 10, "linear"),
        ("nosuch", 10, "no plugin 'nosuch' is installed"),
        ("linear(init=1)", 10, "has no option 'init'"),
        ("linear(transition_steps=3ep)", 10, "3ep counts epochs, and the length of an epoch is not known"),
        ("linear", 0, "total_steps=0 is refused"),
    ],
)
def test_a_table_that_cannot_be_is_refused_in_a_sentence(spec: str, total_steps: int, said: str) -> None:
    with pytest.raises(LrtrainError, match=said):
        table(spec, total_steps)
